"""The store of a partition's records: its interface, and the store in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import nsmallest
from typing import Any, Protocol, TypeVar

from backbeat.streams.core.records import Meta
from backbeat.streams.core.tables import META_FIELDS, META_TABLES, TABLES, MetaTable, Table, Timer, TimerFields

_K = TypeVar("_K")
_R = TypeVar("_R")

#: Records that are read at a time.
_PAGE_RECORDS = 200

#: Of one table, by key: records after a transaction (null: deleted), and before it (null or absent: none).
Rows = tuple[dict[Any, Any], dict[Any, Any]]
#: Puts a record under its key (null: deletes it); the flag says whether it is new.
Keep = Callable[[Any, Any, bool], None]


class Store(Protocol):
    """The records of one partition. Callers must not change a record that they read."""

    @property
    def meta(self) -> Meta:
        """The partition's position, settings and tables."""

    def get(self, table: Table[_K, _R] | MetaTable[_K, _R], key: _K) -> _R | None:
        """A record, or null."""

    def keys(self, table: MetaTable[_K, _R]) -> set[_K]:
        """The keys of all entries of the meta record's table."""

    def scan(self, table: Table[_K, _R], after: _K | None, count: int) -> list[tuple[_K, _R]]:
        """The first `count` records behind a key, in the order of keys; null: from the first on."""

    def merge(self, rows: Mapping[Any, Rows], meta: Meta | None, rearmed: Iterable[Timer]) -> None:
        """Apply a transaction's changes of these rows, all of them or, where this raises, none.

        `meta`: changed in `META_FIELDS`. `rearmed`: timers to fire again.
        """


class PartitionRecords(ABC):
    """Base of the stores: the meta record, and the timers that follow from records."""

    def __init__(self, meta: Meta) -> None:
        #: by table, records by key: dictionaries of the meta record, and a store's own containers
        self._entries: dict[Any, Any] = {}
        #: by table: the function that puts a record, and the timer fields of the record
        self._writers: dict[Any, tuple[Keep, TimerFields | None]] = {}
        self.replace_meta(meta)

    def replace_meta(self, meta: Meta) -> None:
        """Take another meta record, and its tables."""
        #: the partition's position, settings and tables
        self.meta = meta
        for table in META_TABLES:
            self._keep_in(table, getattr(meta, table.name), None)

    def _keep_in(self, table: Any, entries: dict[Any, Any], timer: TimerFields | None) -> None:
        """Hold a table in a dictionary."""

        def keep(key: Any, record: Any, is_new: bool) -> None:  # noqa: ARG001, FBT001 - as others are called
            if record is None:
                entries.pop(key, None)
            else:
                entries[key] = record

        self._entries[table] = entries
        self._writers[table] = (keep, timer)

    def get(self, table: Table[_K, _R] | MetaTable[_K, _R], key: _K) -> _R | None:
        """A record, or null."""
        record: _R | None = self._entries[table].get(key)
        return record

    def keys(self, table: MetaTable[_K, _R]) -> set[_K]:
        """The keys of all entries of the meta record's table."""
        return set(self._entries[table])

    def merge(self, rows: Mapping[Any, Rows], meta: Meta | None, rearmed: Iterable[Timer]) -> None:
        """Apply a transaction's changes. Touches memory only, so that nothing can come in between."""
        for table, (own, before) in rows.items():
            keep, fields = self._writers[table]
            for key, record in own.items():
                old_record = before.get(key)
                if record is old_record or (old_record is not None and record == old_record):
                    continue
                keep(key, record, old_record is None)
                if fields is None:
                    continue
                if old_record is not None:
                    if record is not None and fields.state(old_record) == fields.state(record):
                        continue
                    old_timer = fields.of(key, old_record)
                    if old_timer is not None:
                        self.clear_timer(*old_timer[:3])
                new_timer = None if record is None else fields.of(key, record)
                if new_timer is not None:
                    self.set_timer(*new_timer)
        for timer in rearmed:
            self.clear_timer(*timer[:3])
            self.set_timer(*timer)
        if meta is not None:
            for name in META_FIELDS:
                setattr(self.meta, name, getattr(meta, name))

    @abstractmethod
    def set_timer(self, due: int, subject_id: bytes, kind: int, number: int) -> None:
        """Set a timer. `due`: milliseconds since the epoch."""

    @abstractmethod
    def clear_timer(self, due: int, subject_id: bytes, kind: int) -> None:
        """Clear a timer."""


class MemoryStore(PartitionRecords):
    """Records in dictionaries: for tests, and for running workflows in memory. `store[NODES]` has all nodes."""

    def __init__(self, meta: Meta | None = None) -> None:
        super().__init__(meta or Meta())
        for table in TABLES:
            self._keep_in(table, {}, table.timer)
        #: (due, subject, kind) -> number
        self.timers: dict[tuple[int, bytes, int], int] = {}

    def __getitem__(self, table: Table[_K, _R]) -> dict[_K, _R]:
        records: dict[_K, _R] = self._entries[table]
        return records

    def scan(self, table: Table[_K, _R], after: _K | None, count: int) -> list[tuple[_K, _R]]:
        """The first `count` records behind a key, in the order of keys; null: from the first on."""
        records = self[table]
        keys: list[Any] = nsmallest(count, (key for key in records if after is None or key > after))  # type: ignore[operator]
        return [(key, records[key]) for key in keys]

    def set_timer(self, due: int, subject_id: bytes, kind: int, number: int) -> None:
        """Set a timer. `due`: milliseconds since the epoch."""
        self.timers[due, subject_id, kind] = number

    def clear_timer(self, due: int, subject_id: bytes, kind: int) -> None:
        """Clear a timer."""
        self.timers.pop((due, subject_id, kind), None)


def changed(rows: Mapping[Any, Rows]) -> Iterator[tuple[Any, Any, Any]]:
    """The changes in a transaction's rows: table, key and record (null: deleted)."""
    for table, (own, before) in rows.items():
        for key, record in own.items():
            if record != before.get(key):
                yield table, key, record


def every(store: Store, table: Table[_K, _R]) -> Iterator[_R]:
    """All records of a table, in the order of keys. Commands may be applied between two of them."""
    after: _K | None = None
    while page := store.scan(table, after, _PAGE_RECORDS):
        yield from (record for _, record in page)
        after = page[-1][0]


def in_order(
    stored: Callable[[Any, int], list[tuple[Any, Any]]], changed: Mapping[Any, Any], after: Any, count: int
) -> list[tuple[Any, Any]]:
    """The first `count` records behind a key, merged from stored and changed ones (null: deleted)."""
    records: list[tuple[Any, Any]] = []
    while True:
        missing_count = count - len(records)
        merged = dict(stored(after, missing_count))
        # Behind the last of these more may be stored: changes there are merged in the next round.
        last_key = max(merged) if missing_count and len(merged) == missing_count else None
        merged |= {
            key: record
            for key, record in changed.items()
            if (after is None or key > after) and (last_key is None or key <= last_key)
        }
        records += [(key, merged[key]) for key in sorted(merged) if merged[key] is not None][:missing_count]
        if last_key is None or len(records) == count:
            return records
        after = last_key
