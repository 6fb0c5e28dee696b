"""The store in memory, on which the rules are tested, and the one in RocksDB: same changes, same answers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backbeat.streams.core.store import MemoryStore
from backbeat.streams.core.tables import META_TABLES, TABLES
from backbeat.streams.core.transaction import Transaction
from backbeat.streams.ports.state import ChangelogPosition
from backbeat.streams.state.store import PartitionStore
from backbeat.testing.memory_store import MemoryPartition
from tests.streams.core.every_command import SETTINGS, Story, fill, go_on, try_the_rest

_CHANGES = 400
_NEVER = 10**16


class CommittedStore:
    """RocksDB's store as an engine has it: commits that take their time, and starts from what is committed."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        self._path = path
        self._chance = chance
        self.store = PartitionStore(path, 0, 16)
        self._in_flight: Any = None

    def go_on(self) -> None:
        """A step of a commit, or none; at times the process starts again behind one."""
        if self._chance.random() < 0.6:
            return
        if self._in_flight is None:
            self._in_flight = self.store.snapshot()
            return
        self.store.write(self._in_flight, ChangelogPosition("state", 0, 0))
        self.store.mark_durable()
        self._in_flight = None
        if self._chance.random() < 0.3:
            self.store.write(self.store.snapshot(), ChangelogPosition("state", 0, 0))
            self.store.mark_durable()
            self.store.close()
            self.store = PartitionStore(self._path, 0, 16)


def examples() -> dict[Any, dict[Any, list[Any]]]:
    """Records of every kind: by table and key, those that a story has had there."""
    story = Story(MemoryStore())
    records: dict[Any, dict[Any, list[Any]]] = {}
    for part in (fill, go_on, try_the_rest):
        part(story)
        for table in TABLES:
            for key, record in story.store[table].items():
                records.setdefault(table, {}).setdefault(key, []).append(record)
    assert set(records) == set(TABLES)
    return records


EXAMPLES = examples()


def changes(chance: random.Random) -> Iterator[list[tuple[Any, Any, Any]]]:
    """Transactions: table, key and record; null: deleted."""
    tables = list(EXAMPLES)
    for _ in range(_CHANGES):
        transaction = []
        for table in chance.choices(tables, k=chance.choice((1, 1, 3))):
            records = EXAMPLES[table]
            key = chance.choice(list(records))
            # A record of another key may have another timer.
            record = chance.choice(records[chance.choice(list(records))] if table.timer is None else records[key])
            transaction.append((table, key, None if chance.random() < 0.3 else record))
        yield transaction


@pytest.mark.parametrize("seed", range(5))
def test_the_same_changes_have_the_same_answers(quick_path, seed):
    chance = random.Random(seed)
    memory, rocksdb = MemoryPartition(), CommittedStore(quick_path / "partition-0", chance)
    for transaction in changes(chance):
        for store in (memory, rocksdb.store):
            pending = Transaction(store)
            for table, key, record in transaction:
                pending.put(table, key, record)
            pending.commit()
        rocksdb.go_on()
        table = chance.choice(TABLES)
        keys = list(EXAMPLES[table])
        key, after, count = chance.choice(keys), chance.choice([None, *keys]), chance.choice((1, 2, 50))
        assert memory.get(table, key) == rocksdb.store.get(table, key)
        assert memory.scan(table, after, count) == rocksdb.store.scan(table, after, count)
    for table in TABLES:
        assert memory.scan(table, None, 1_000) == rocksdb.store.scan(table, None, 1_000)
    assert list(memory.timers.due(_NEVER)) == list(rocksdb.store.timers.due(_NEVER))
    rocksdb.store.close()


def test_every_command_has_the_same_effects(quick_path):
    memory, rocksdb = Story(MemoryStore()), Story(PartitionStore(quick_path / "partition-0", 0, 16))
    for story in (memory, rocksdb):
        for part in (fill, go_on, try_the_rest):
            part(story)
    assert memory.store.meta.settings == rocksdb.store.meta.settings == SETTINGS
    assert memory.effects == rocksdb.effects
    for table in META_TABLES:
        assert memory.store.keys(table) == rocksdb.store.keys(table)
    rocksdb.store.close()
