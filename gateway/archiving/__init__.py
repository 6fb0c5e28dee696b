"""Archives of workflows that are about to be removed: what they hold, where they lie, who writes them.

content   an archive: JSON lines, compressed; written and read
places    folders and buckets by their URLs; an archive's name
archiver  finds the workflows that wait for it, archives them, says so to the engine
"""

from backbeat.gateway.archiving.archiver import Archiver, Background
from backbeat.gateway.archiving.content import Archive, ArchiveError, read_archive
from backbeat.gateway.archiving.places import Place, open_place, split_address

__all__ = [
    "Archive",
    "ArchiveError",
    "Archiver",
    "Background",
    "Place",
    "open_place",
    "read_archive",
    "split_address",
]
