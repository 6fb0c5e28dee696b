"""Where records are kept: what `apply` asks of a partition's store, and the store that keeps them in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import nsmallest
from operator import attrgetter
from typing import Any, Protocol, TypeVar

from backbeat.streams.core.records import Meta
from backbeat.streams.core.tables import META_FIELDS, META_TABLES, TABLES, MetaTable, Table, Timer, TimerFields

_K = TypeVar("_K")
_R = TypeVar("_R")

#: Records that are read at a time.
_PAGE_RECORDS = 200

#: By table: the keys of records, as they were, and as they are (null: there is none).
Changes = list[tuple[Any, list[tuple[Any, Any, Any]]]]


class Store(Protocol):
    """One partition's records. What is read must not be changed by the caller."""

    @property
    def meta(self) -> Meta:
        """Where the partition is, and what nearly every command needs."""

    def get(self, table: Table[_K, _R] | MetaTable[_K, _R], key: _K) -> _R | None:
        """A record, or null."""

    def keys(self, table: MetaTable[_K, _R]) -> set[_K]:
        """The keys of all entries of the meta record's table."""

    def scan(self, table: Table[_K, _R], after: _K | None, count: int) -> list[tuple[_K, _R]]:
        """The first `count` records behind a key, in the order of keys; null: from the first on."""

    def merge(self, changes: Changes, meta: Meta | None, rearmed: Iterable[Timer]) -> None:
        """Keep what a transaction has changed, all of it or, where this raises, nothing.

        `meta`: changed in `META_FIELDS`. `rearmed`: timers that stand, and are to fire again.
        """


class PartitionRecords(ABC):
    """What the stores have in common: the meta record, and the timers that follow from records."""

    def __init__(self, meta: Meta) -> None:
        #: the dictionaries of the meta record, found by table
        self._entries: dict[Any, dict[Any, Any]] = {}
        self.meta = meta

    def _take_meta(self, meta: Meta) -> None:
        self._meta = meta
        self._entries.update({table: getattr(meta, table.name) for table in META_TABLES})

    #: Where the partition is, and what nearly every command needs. Not a method that reads it: that takes too long.
    meta = property(attrgetter("_meta"), _take_meta)

    def keys(self, table: MetaTable[_K, _R]) -> set[_K]:
        """The keys of all entries of the meta record's table."""
        return set(self._entries[table])

    def merge(self, changes: Changes, meta: Meta | None, rearmed: Iterable[Timer]) -> None:
        """Keep what a transaction has changed. Touches memory only, so that nothing can come in between."""
        for table, changed in changes:
            self._keep(table, changed)
            if table.timer is not None:
                due_at, state = table.timer.due_at, table.timer.state
                for key, before, record in changed:
                    if before is None or record is None:
                        moves = due_at(record or before) is not None
                    else:
                        moves = state(before) != state(record)
                    if moves:
                        self._move_timer(table.timer, key, before, record)
        for timer in rearmed:
            self.clear_timer(*timer[:3])
            self.set_timer(*timer)
        if meta is not None:
            for name in META_FIELDS:
                setattr(self._meta, name, getattr(meta, name))

    def _move_timer(self, fields: TimerFields, key: bytes, before: object, record: object) -> None:
        if before is not None and (timer := fields.of(key, before)) is not None:
            self.clear_timer(timer[0], key, timer[2])
        if record is not None and (timer := fields.of(key, record)) is not None:
            self.set_timer(*timer)

    @abstractmethod
    def _keep(self, table: Table[_K, _R], changed: list[tuple[_K, _R | None, _R | None]]) -> None:
        """Keep records of a table, by key: each as it was, and as it is."""

    @abstractmethod
    def set_timer(self, due: int, subject_id: bytes, kind: int, number: int) -> None:
        """Have a TimerFired sent at `due` (milliseconds since the epoch)."""

    @abstractmethod
    def clear_timer(self, due: int, subject_id: bytes, kind: int) -> None:
        """Forget a timer that was set."""


class MemoryStore(PartitionRecords):
    """Records in dictionaries: for tests, and for running workflows in memory. `store[NODES]` has all nodes."""

    def __init__(self, meta: Meta | None = None) -> None:
        super().__init__(meta or Meta())
        self._entries.update({table: {} for table in TABLES})
        #: (due, subject, kind) -> number
        self.timers: dict[tuple[int, bytes, int], int] = {}

    def __getitem__(self, table: Table[_K, _R]) -> dict[_K, _R]:
        return self._entries[table]

    def get(self, table: Table[_K, _R] | MetaTable[_K, _R], key: _K) -> _R | None:
        """A record, or null."""
        return self._entries[table].get(key)

    def scan(self, table: Table[_K, _R], after: _K | None, count: int) -> list[tuple[_K, _R]]:
        """The first `count` records behind a key, in the order of keys; null: from the first on."""
        records = self[table]
        keys: list[Any] = nsmallest(count, (key for key in records if after is None or key > after))  # type: ignore[operator]
        return [(key, records[key]) for key in keys]

    def _keep(self, table: Table[_K, _R], changed: list[tuple[_K, _R | None, _R | None]]) -> None:
        keep_entries(self._entries[table], changed)

    def set_timer(self, due: int, subject_id: bytes, kind: int, number: int) -> None:
        """A timer stands."""
        self.timers[due, subject_id, kind] = number

    def clear_timer(self, due: int, subject_id: bytes, kind: int) -> None:
        """A timer stands no more."""
        self.timers.pop((due, subject_id, kind), None)


def keep_entries(entries: dict[_K, _R], changed: Iterable[tuple[_K, _R | None, _R | None]]) -> None:
    """Change entries of a dictionary."""
    for key, _, record in changed:
        if record is None:
            entries.pop(key, None)
        else:
            entries[key] = record


def every(store: Store, table: Table[_K, _R]) -> Iterator[_R]:
    """All records of a table, in the order of keys. Commands may come in between two of them."""
    after: _K | None = None
    while page := store.scan(table, after, _PAGE_RECORDS):
        yield from (record for _, record in page)
        after = page[-1][0]


def in_order(
    stored: Callable[[Any, int], list[tuple[Any, Any]]], changed: Mapping[Any, Any], after: Any, count: int
) -> list[tuple[Any, Any]]:
    """The first `count` records behind a key, of what is stored and what is changed above it (null: deleted)."""
    found: list[tuple[Any, Any]] = []
    while True:
        wanted = count - len(found)
        below = dict(stored(after, wanted))
        # Behind the last of these there may be more below: what is changed there is looked at in the next round.
        until = max(below) if wanted and len(below) == wanted else None
        below |= {
            key: record
            for key, record in changed.items()
            if (after is None or key > after) and (until is None or key <= until)
        }
        found += [(key, below[key]) for key in sorted(below) if below[key] is not None][:wanted]
        if until is None or len(found) == count:
            return found
        after = until
