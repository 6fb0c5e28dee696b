"""RocksDB of a partition: one database, with small budgets, without a write-ahead log.

The changelog is the log. Writes since RocksDB last flushed its memory are read from there again after a kill. Tables
are never changed once they are written, and their blocks have checksums; the list of them (MANIFEST) only grows. So
after a damage to any file, RocksDB either reports it, or has exactly the records of an earlier commit, with that
commit's position in the changelog. With a write-ahead log a missing part before later ones would go unnoticed.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from rocksdict import BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteOptions

from backbeat.streams.ports.errors import DamagedStoreError, FullDiskError, StoreError
from backbeat.streams.state.store_folder import StoreFolder

_WRITE_BUFFER_BYTES = 2 * 1024 * 1024
#: Share of the write buffer for a filter of its keys.
_WRITE_BUFFER_BLOOM_RATIO = 0.02

#: One block cache for all partitions of a process.
_BLOCKS = Cache(24 * 1024 * 1024)

_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
#: Errors of the process or the system, not of the files; and RocksDB's own text for a folder that is open already.
_NOT_THE_FILES = (
    *map(os.strerror, (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.EROFS)),
    "lock hold by current process",
)


def _options(*, create: bool) -> Options:
    table = BlockBasedOptions()
    table.set_block_cache(_BLOCKS)
    table.set_cache_index_and_filter_blocks(True)
    table.set_bloom_filter(10, False)
    # In parts of a block each: the whole index of a file that has grown is larger than a shard of the cache takes, and
    # each read would read it anew.
    table.set_index_type(BlockBasedIndexType.two_level_index_search())
    table.set_partition_filters(True)
    table.set_pin_top_level_index_and_filter(True)
    options = Options(raw_mode=True)
    options.create_if_missing(create)
    options.set_error_if_exists(create)
    options.set_block_based_table_factory(table)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    # Each workflow and node is looked for before it is made: that there is none is known five times as quickly.
    options.set_memtable_prefix_bloom_ratio(_WRITE_BUFFER_BLOOM_RATIO)
    options.set_memtable_whole_key_filtering(True)
    options.set_max_open_files(64)
    options.set_keep_log_file_num(2)
    return options


def open_database(folder: StoreFolder, partition: int) -> Rdict:
    """The database in a folder; a new one where none was made yet. StoreError."""
    is_made = folder.is_made
    if not is_made and folder.is_there:
        raise DamagedStoreError(
            partition,
            f"nothing says that the store in {folder.path} was made completely (its making was interrupted, or it is "
            f"of an older release)",
        )
    if is_made and not folder.is_there:
        raise DamagedStoreError(partition, f"the store that was made in {folder.path} is not there any more")
    try:
        folder.path.parent.mkdir(parents=True, exist_ok=True)
        database = Rdict(str(folder.path), _options(create=not is_made))
        if not is_made:
            folder.mark()
    except Exception as error:
        if not is_made:
            shutil.rmtree(folder.path, ignore_errors=True)  # The next try begins anew.
        raise store_error(partition, folder.path, "open", error) from error
    write_options = WriteOptions()
    write_options.disable_wal = True
    database.set_write_options(write_options)
    return database


def store_error(partition: int, path: Path, work: str, error: Exception) -> StoreError:
    """An exception of RocksDB as a StoreError. `work`: the failed operation, a verb."""
    text = str(error)
    message = f"cannot {work} the store in {path}: {text}"
    if any(phrase in text for phrase in _FULL):
        return FullDiskError(f"partition {partition}: {message}")
    if type(error) is not Exception or any(phrase in text for phrase in _NOT_THE_FILES):
        return StoreError(f"partition {partition}: {message}")
    return DamagedStoreError(partition, message)


def with_store_errors(
    pairs: Iterator[tuple[bytes, bytes]], partition: int, path: Path
) -> Iterator[tuple[bytes, bytes]]:
    """The pairs of a scan, with RocksDB's exceptions as StoreError."""
    try:
        yield from pairs
    except StoreError:
        raise
    except Exception as error:
        raise store_error(partition, path, "read", error) from error
