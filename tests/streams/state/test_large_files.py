"""A read of the store costs the same whatever the size of the file that it is in."""

from __future__ import annotations

import random
from pathlib import Path

import psutil
import pytest
from rocksdict import WriteBatch

from backbeat.streams.state.rocksdb import open_database
from backbeat.streams.state.store_folder import StoreFolder
from tests.waiting import until

#: Each has a block of its own, and its key whole in the index: two megabytes of it.
RECORDS = 60_000
VALUE = bytes(4_096)
READS = 200
BYTES_A_READ_MAX = 64 * 1024

pytestmark = pytest.mark.skipif(
    not hasattr(psutil.Process, "io_counters"), reason="this system does not count a process's reads"
)


def key(number: int) -> bytes:
    """A key as those of the nodes of one workflow: they differ behind what they share."""
    return bytes(12) + random.Random(number).randbytes(8)


def test_a_read_from_a_large_file_reads_no_whole_index(tmp_path: Path):
    database = open_database(StoreFolder(tmp_path / "store"), 0)
    try:
        for first in range(0, RECORDS, 1_000):
            batch = WriteBatch(raw_mode=True)
            for number in range(first, first + 1_000):
                batch.put(key(number), VALUE)
            database.write(batch)
        database.flush()
        database.compact_range(None, None)
        busy = ("compaction-pending", "num-running-compactions", "num-running-flushes")
        until(lambda: not any(database.property_int_value(f"rocksdb.{name}") for name in busy), "its files are written")
        process, numbers = psutil.Process(), random.Random(7).choices(range(RECORDS), k=READS)
        before = process.io_counters().read_chars
        assert all(database.get(key(number)) == VALUE for number in numbers)
        assert process.io_counters().read_chars - before < READS * BYTES_A_READ_MAX
    finally:
        database.close()
