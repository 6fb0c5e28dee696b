"""Archives of workflows that are due for removal: format, stores, archiver.

content   an archive: JSON lines, compressed; written and read
stores    folders and buckets by their URLs; an archive's name
archiver  finds the workflows to archive, writes them, and has the engine remove them
"""

from backbeat.gateway.archiving.archiver import Archiver, BackgroundArchiver
from backbeat.gateway.archiving.content import Archive, ArchiveError, read_archive
from backbeat.gateway.archiving.stores import ArchiveStore, open_archive_store, split_address

__all__ = [
    "Archive",
    "ArchiveError",
    "ArchiveStore",
    "Archiver",
    "BackgroundArchiver",
    "open_archive_store",
    "read_archive",
    "split_address",
]
