"""Whatever happens to one file of a partition's store, the partition comes back as it was, byte for byte."""

import random
import shutil

import pytest

from backbeat.streams.core.store import every
from backbeat.streams.core.tables import NODES, STORED_REPLIES
from backbeat.streams.ports.errors import DamagedStoreError, RestoreError, StoreError
from backbeat.streams.ports.state import ChangelogPosition
from backbeat.streams.state import rocksdb
from backbeat.streams.state.restore import restore
from backbeat.streams.state.store import PartitionStore, host_now
from backbeat.streams.state.store_folder import StoreFolder, set_aside_in
from backbeat.streams.state.stored_records import StoredRecords
from tests.streams.state.damage import PARTITION, Kept, Log, damaged_while_closed, damaged_while_open, files_of, history
from tests.waiting import until


@pytest.fixture(autouse=True)
def _small_tables(monkeypatch):
    # A history of some hundred commits has tables, compactions and lists of them as one of days has.
    monkeypatch.setattr(rocksdb, "_WRITE_BUFFER_BYTES", 16 * 1024)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_file_of_a_closed_store_is_damaged(quick_path, seed):
    noticed = damaged_while_closed(quick_path, seed, times=80)
    assert any("set aside" in line for line in noticed)
    assert any("as it was" in line for line in noticed)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_file_of_an_open_store_is_damaged(quick_path, seed):
    assert damaged_while_open(quick_path, seed, times=40)


@pytest.mark.parametrize("missing", ["CURRENT", "MANIFEST", ".sst"])
def test_a_store_with_a_missing_file_is_set_aside_and_never_begun_anew_in_place(tmp_path, missing):
    kept = Kept(tmp_path / "partition-3", random.Random(5))
    history(kept, 60)
    kept.kill()
    expected = kept.rebuilt(tmp_path / "rebuilt")
    for name in files_of(kept.path):
        if missing in name:
            (kept.path / name).unlink()
    kept.store = kept.restored()
    assert kept.content() == expected
    (why,) = kept.repairs
    assert why.startswith(f"cannot open the store in {kept.path}: ")
    # It is kept for whoever looks for the cause.
    (aside,) = set_aside_in(tmp_path)
    assert (aside / "IDENTITY").exists()
    kept.store.close()


def test_only_the_newest_store_that_was_set_aside_is_kept(tmp_path):
    kept = Kept(tmp_path / "partition-3", random.Random(6))
    for _ in range(3):
        kept.commit()
        kept.store.close()
        (kept.path / "CURRENT").unlink()
        newest = (kept.path / "IDENTITY").read_bytes()
        kept.store = kept.restored()
    (aside,) = set_aside_in(tmp_path)
    assert (aside / "IDENTITY").read_bytes() == newest
    kept.store.close()


def test_a_store_whose_making_was_interrupted_or_that_an_older_release_has_made_is_made_anew(tmp_path):
    kept = Kept(tmp_path / "partition-3", random.Random(7))
    history(kept, 30)
    kept.store.close()
    expected = kept.rebuilt(tmp_path / "rebuilt")
    (tmp_path / "partition-3.made").unlink()
    kept.store = kept.restored()
    assert kept.content() == expected
    assert "nothing says that the store" in kept.repairs[0]
    kept.restart()
    assert len(kept.repairs) == 1
    kept.store.close()


def test_a_folder_that_was_removed_is_made_anew(tmp_path):
    kept = Kept(tmp_path / "partition-3", random.Random(8))
    history(kept, 30)
    kept.store.close()
    expected = kept.rebuilt(tmp_path / "rebuilt")
    shutil.rmtree(kept.path)
    assert not kept.repairs
    kept.store = kept.restored()
    assert kept.content() == expected
    assert not list(set_aside_in(tmp_path))
    kept.store.close()


class Walked(StoredRecords):
    """Without what a partition's store reads when it is opened, timers among it."""

    set_timer = clear_timer = None


def test_a_walk_over_a_damaged_table_does_not_end_early(tmp_path):
    kept = Kept(tmp_path / "partition-3", random.Random(9))
    history(kept, 60)
    kept.restart()
    count = len(kept.content())
    kept.store.close()
    tables = [file for file in kept.path.iterdir() if file.suffix == ".sst"]
    for table in tables:
        content = bytearray(table.read_bytes())
        # The blocks of data are in front: the list of them stays as it is, so the table can be opened.
        content[: len(content) // 2] = bytes(len(content) // 2)
        table.write_bytes(content)
    store = Walked(kept.path, PARTITION, rocksdb.open_database(StoreFolder(kept.path), PARTITION), 16)
    walks = (
        lambda: store._scan(b"", b""),
        lambda: store.scan(STORED_REPLIES, None, count),
        lambda: every(store, NODES),
    )
    for walk in walks:
        with pytest.raises(DamagedStoreError):
            assert len(list(walk())) < count
    store._db.close()


def test_the_state_is_not_said_to_be_lost_where_only_the_store_lacks_it(tmp_path):
    kept = Kept(tmp_path / "partition-3", random.Random(10))
    kept.commit()
    kept.store._db.delete(b"m")
    kept.restart()
    assert "lacks the record of its position" in kept.repairs[0]
    assert kept.content() == kept.rebuilt(tmp_path / "rebuilt")
    kept.store.close()


def test_a_changelog_without_the_state_is_refused_with_what_to_do(tmp_path):
    log = Log()
    log.position = 7
    path = tmp_path / "partition-3"
    with pytest.raises(RestoreError) as caught:
        restore(lambda: PartitionStore(path, 3), StoreFolder(path).remove, pytest.fail, log)
    assert "read from its beginning, holds nothing of it" in str(caught.value)
    assert "Bring it back from its replicas or from a backup" in str(caught.value)
    assert "offsets to begin" not in str(caught.value)


def test_a_store_that_is_in_use_or_not_ours_to_read_is_no_damaged_one(tmp_path):
    kept = Kept(tmp_path / "partition-3", random.Random(11))
    kept.commit()
    with pytest.raises(StoreError) as caught:
        kept.restored()
    assert not isinstance(caught.value, DamagedStoreError)
    assert not kept.repairs
    kept.store.close()


def test_a_disk_that_damages_whatever_is_written_ends_the_engine_with_what_to_do(tmp_path):
    path = tmp_path / "partition-3"
    asides = []

    def broken():
        raise DamagedStoreError(3, f"cannot open the store in {path}: IO error")

    with pytest.raises(StoreError, match=r"made anew just before\. What to do: look at the disk"):
        restore(broken, StoreFolder(path).remove, asides.append, Log())
    assert len(asides) == 1


def test_what_was_written_long_ago_survives_a_kill(tmp_path, monkeypatch):
    # Nothing fills RocksDB's memory here, and the changelog keeps the marks of deleted records for a day only.
    monkeypatch.setattr(rocksdb, "_WRITE_BUFFER_BYTES", 2 * 1024 * 1024)
    kept = Kept(tmp_path / "partition-3", random.Random(12))
    kept.commit()
    offset = kept.store.origin.next_offset
    kept.store._flushed_at -= 11 * 60 * 1000
    kept.store.write(kept.store.snapshot(), ChangelogPosition("state", offset, host_now()))
    until(kept.store._db.live_files, "it is in files")
    kept.kill()
    store = PartitionStore(kept.path, PARTITION)
    assert store.origin.next_offset == offset
    store.close()


def test_rocksdb_keeps_no_log_of_its_own(tmp_path):
    kept = Kept(tmp_path / "partition-3", random.Random(13))
    kept.commit()
    assert all(file.stat().st_size == 0 for file in kept.path.glob("*.log"))
    kept.store.close()
