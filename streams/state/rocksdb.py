"""RocksDB as a partition uses it: one database, with small budgets, and without a log of its own.

The changelog is the log. What was written since RocksDB last wrote out its memory is read from there again after a
kill. Tables are never changed once they are written, and their blocks have checksums; the list of them (MANIFEST) only
grows. So whatever happens to one of the files, RocksDB either says so, or holds exactly what it held at an earlier
commit, with that commit's position in the changelog. With a log beside the tables that would not be so: a part of it
that is missing, before parts that are there, goes unnoticed.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteOptions

from backbeat.streams.engine.ports import DamagedStoreError, FullDiskError, StoreError
from backbeat.streams.state.store_folder import StoreFolder

_WRITE_BUFFER_BYTES = 2 * 1024 * 1024

#: One block cache for all partitions of a process.
_BLOCKS = Cache(24 * 1024 * 1024)

_FULL = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT))
#: What a process may lack although every file is as it was; and RocksDB's own words where somebody has the folder open.
_NOT_THE_FILES = (
    *(os.strerror(code) for code in (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM)),
    *(os.strerror(code) for code in (errno.EACCES, errno.EPERM, errno.EROFS)),
    "lock hold by current process",
)


def _options(*, create: bool) -> Options:
    table = BlockBasedOptions()
    table.set_block_cache(_BLOCKS)
    table.set_cache_index_and_filter_blocks(True)
    table.set_bloom_filter(10, False)
    options = Options(raw_mode=True)
    options.create_if_missing(create)
    options.set_error_if_exists(create)
    options.set_block_based_table_factory(table)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_max_open_files(64)
    options.set_keep_log_file_num(2)
    return options


def open_database(folder: StoreFolder, partition: int) -> Rdict:
    """The database in this folder; a new one where none was made yet. StoreError."""
    made = folder.is_made
    if not made and folder.is_there:
        raise DamagedStoreError(
            partition,
            f"nothing says that the store in {folder.path} was made completely (its making was interrupted, or it is "
            f"of an older release)",
        )
    if made and not folder.is_there:
        raise DamagedStoreError(partition, f"the store that was made in {folder.path} is not there any more")
    try:
        folder.path.parent.mkdir(parents=True, exist_ok=True)
        database = Rdict(str(folder.path), _options(create=not made))
        if not made:
            folder.mark()
    except Exception as error:
        if not made:
            shutil.rmtree(folder.path, ignore_errors=True)  # It is tried again, from the beginning.
        raise store_error(partition, folder.path, "open", error) from error
    written = WriteOptions()
    written.disable_wal = True
    database.set_write_options(written)
    return database


def store_error(partition: int, path: Path, work: str, error: Exception) -> StoreError:
    """What RocksDB raised, as the engine has to take it. `work`: what was tried, a verb."""
    text = str(error)
    told = f"cannot {work} the store in {path}: {text}"
    if any(each in text for each in _FULL):
        return FullDiskError(f"partition {partition}: {told}")
    if type(error) is not Exception or any(each in text for each in _NOT_THE_FILES):
        return StoreError(f"partition {partition}: {told}")
    return DamagedStoreError(partition, told)


def checked(pairs: Iterator[tuple[bytes, bytes]], partition: int, path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The same pairs of a walk over a database. StoreError."""
    try:
        yield from pairs
    except StoreError:
        raise
    except Exception as error:
        raise store_error(partition, path, "read", error) from error
