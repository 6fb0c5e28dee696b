"""Every file of very many stores damaged in every way: the state is as before, byte for byte."""

from collections import Counter

import pytest

from backbeat.streams.state import rocksdb
from tests.streams.state.conftest import quick_path
from tests.streams.state.damage import damaged_while_closed, damaged_while_open

pytestmark = pytest.mark.prove

__all__ = ["quick_path"]

STORES = 60
_TIMES_OPEN = 100


def test_whatever_happens_to_a_file_the_state_is_as_before(quick_path, monkeypatch):
    noticed: Counter[str] = Counter()
    for seed in range(STORES):
        # From tables of every few commits to those that RocksDB keeps in memory alone.
        monkeypatch.setattr(rocksdb, "_WRITE_BUFFER_BYTES", (16, 64, 2048)[seed % 3] * 1024)
        for work, times in ((damaged_while_closed, None), (damaged_while_open, _TIMES_OPEN)):
            folder = quick_path / f"{seed}-{work.__name__}"
            folder.mkdir()
            noticed += work(folder, seed, times)
    print()
    for notice, count in sorted(noticed.items()):
        print(f"{count:6}  {notice}")
    print(f"{noticed.total()} damages to {STORES} stores: the state was as before, byte for byte")
