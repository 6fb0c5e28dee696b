"""A disk without room: nothing is lost, one line says so, and everything goes on by itself when there is room."""

import logging
import os
import random
import threading
import time

import pytest

from backbeat.streams.ports.errors import FullDiskError
from backbeat.streams.state.data_dir import lock_data_dir
from backbeat.streams.state.disk_space import DiskSpace
from backbeat.streams.state.store_folder import StoreFolder
from tests.streams.state.damage import Kept
from tests.streams.state.small_disk import fill, small_disk
from tests.waiting import until

SECONDS_MAX = 120


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", 16) as folder:
        yield folder


def test_a_full_disk_is_said_once_and_what_waited_is_written_when_there_is_room(disk, caplog):
    caplog.set_level(logging.WARNING)
    full_or_not = []
    space = DiskSpace(disk, full_or_not.append)
    kept = Kept(disk / "partition-3", random.Random(1), space)
    (disk / "partition-1.damaged-20260102T030405.000000Z").mkdir()
    filler = fill(disk)
    written = threading.Event()

    def write() -> None:
        for _ in range(4_000):  # More than RocksDB keeps in memory.
            kept.commit()
        written.set()

    writer = threading.Thread(target=write)
    writer.start()
    until(lambda: space.is_full, "the disk is full")
    # It is tried again and again, and said once.
    time_over = time.monotonic() + 3
    while time.monotonic() < time_over:
        assert not written.wait(0.1)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert line.startswith(f"the disk of {disk} is full (0.")
    assert "No space left on device" in line
    assert "What to do: make room" in line
    # What was kept for whoever looks for a cause makes room first.
    assert not list(disk.glob("*.damaged-*"))

    filler.unlink()
    assert written.wait(SECONDS_MAX)
    writer.join()
    assert full_or_not == [True, False]
    assert "has room again" in caplog.records[-1].getMessage()
    expected = kept.rebuilt(disk / "rebuilt")
    assert kept.content() == expected
    kept.kill()
    kept.store = kept.restored()
    assert kept.content() == expected
    assert not kept.repairs
    kept.store.close()


def test_a_store_that_cannot_be_opened_for_lack_of_room_is_not_taken_for_a_damaged_one(disk):
    kept = Kept(disk / "partition-3", random.Random(2))
    for _ in range(50):
        kept.commit()
    kept.store.close()
    expected = kept.rebuilt(disk / "rebuilt")
    filler = fill(disk)
    with pytest.raises(FullDiskError, match="No space left on device"):
        kept.restored()
    assert not kept.repairs
    # An engine has its directory all the same: it waits in it.
    lock_data_dir(disk).close()

    filler.unlink()
    kept.store = kept.restored()
    assert kept.content() == expected
    kept.store.close()


def test_a_store_that_cannot_be_made_for_lack_of_room_leaves_nothing_and_is_no_damaged_one(disk):
    path, filler = disk / "partition-3", fill(disk)
    # At first there is no room at all, then for some of its files.
    for size in range(0, 64 * 1024, 4 * 1024):
        os.truncate(filler, filler.stat().st_size - (size and 4 * 1024))
        kept = None
        try:
            kept = Kept(path, random.Random(3))
        except FullDiskError:
            assert not path.exists()
        else:
            kept.store.close()
            break
    assert kept is not None
    assert size > 4 * 1024
    assert not kept.repairs
    assert StoreFolder(path).is_made
