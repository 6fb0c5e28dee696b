"""What one command reads and writes: its own copies of records, kept together when it holds, dropped when it does not.

    get     a record, to be read only
    edit    a record, to be changed: the transaction's own copy, the same each time
    add     a record that there was not
    put     a record, new or instead of the one that there is
    delete  forget a record
    scan    records in the order of their keys, as this transaction leaves them

Nothing is changed below until `commit`, which hands over everything that is other than before, in one piece. What lies
below is the store, or another transaction: so one of several changes in a command can be dropped by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any, TypeVar

from backbeat.streams.core.records import Meta
from backbeat.streams.core.store import Rows, Store, in_order
from backbeat.streams.core.tables import META_FIELDS, MetaTable, Table, Timer

_K = TypeVar("_K")
_R = TypeVar("_R")
_MISSING: Any = object()


class Transaction:
    """One command's view of a partition's records. It is a `Store` itself: for transactions within it."""

    __slots__ = ("_edits_meta", "_rearmed", "_rows", "_store", "meta")

    def __init__(self, store: Store) -> None:
        self._store = store
        #: to be read only; its dictionaries as they were before: they are tables, read by `get`
        self.meta: Meta = store.meta
        self._edits_meta = False
        self._rows: dict[Any, Rows] = {}
        self._rearmed: list[Timer] = []

    # --- reading -----------------------------------------------------------------------------------------------------

    def get(self, table: Table[_K, _R] | MetaTable[_K, _R], key: _K) -> _R | None:
        """A record as this transaction leaves it, to be read only; null: there is none."""
        rows = self._rows.get(table)
        if rows is not None:
            record: _R | None = rows[0].get(key, _MISSING)
            if record is not _MISSING:
                return record
        return self._store.get(table, key)

    def keys(self, table: MetaTable[_K, _R]) -> set[_K]:
        """The keys of all entries."""
        keys = self._store.keys(table)
        for key, record in self._of(table)[0].items():
            (keys.discard if record is None else keys.add)(key)
        return keys

    def scan(self, table: Table[_K, _R], after: _K | None, count: int) -> list[tuple[_K, _R]]:
        """The first `count` records behind a key, in the order of keys; null: from the first on. To be read only."""
        rows = self._rows.get(table)
        if rows is None:
            return self._store.scan(table, after, count)
        return in_order(lambda behind, most: self._store.scan(table, behind, most), rows[0], after, count)

    def has_changed(self, table: Table[_K, _R], key: _K) -> bool:
        """Whether a record is other than before."""
        own, before = self._of(table)
        return bool(own.get(key) != before.get(key))

    # --- changing ----------------------------------------------------------------------------------------------------

    def _of(self, table: Table[Any, Any] | MetaTable[Any, Any]) -> Rows:
        rows = self._rows.get(table)
        if rows is None:
            rows = self._rows[table] = ({}, {})
        return rows

    def own(self, table: Table[_K, _R]) -> dict[_K, _R | None]:
        """What the transaction has of a table by now: a short way to what was edited before."""
        return self._of(table)[0]

    def edit(self, table: Table[_K, _R], key: _K) -> _R | None:
        """A record to be changed; null: there is none."""
        rows = self._rows.get(table) or self._of(table)
        own = rows[0]
        if key in own:
            return own[key]  # type: ignore[no-any-return]  # rows have no types of their own
        record: Any = self._store.get(table, key)
        if record is not None:
            rows[1][key] = record
            # As `copy.copy` would, but quicker.
            own[key] = record = record.__copy__()
        return record  # type: ignore[no-any-return]  # as above

    def add(self, table: Table[_K, _R], key: _K, record: _R) -> None:
        """Keep a record where the caller knows that there was none."""
        self._of(table)[0][key] = record

    def put(self, table: Table[_K, _R] | MetaTable[_K, _R], key: _K, record: _R | None) -> None:
        """Keep a record; null: forget it."""
        own, before = self._of(table)
        if key not in own:
            before[key] = self._store.get(table, key)
        own[key] = record

    def delete(self, table: Table[_K, _R] | MetaTable[_K, _R], key: _K) -> None:
        """Forget a record, if there is one."""
        self.put(table, key, None)

    def edit_meta(self) -> Meta:
        """The meta record, to be changed but for its dictionaries, which are tables."""
        if not self._edits_meta:
            self.meta = copy(self.meta)
            self._edits_meta = True
        return self.meta

    def rearm(self, timer: Timer) -> None:
        """Have a timer that has fired too early fire again."""
        self._rearmed.append(timer)

    # --- ending ------------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Hand over what has changed."""
        self._store.merge(self._rows, self.meta if self._edits_meta else None, self._rearmed)

    def rollback(self) -> None:
        """Drop what has changed."""
        self.meta = self._store.meta
        self._edits_meta = False
        self._rows = {}
        self._rearmed = []

    def merge(self, rows: Mapping[Any, Rows], meta: Meta | None, rearmed: Iterable[Timer]) -> None:
        """Take over the changes of a transaction within this one."""
        for table, (theirs, were) in rows.items():
            own, before = self._of(table)
            for key, record in theirs.items():
                if key not in own:
                    before[key] = were.get(key)
                own[key] = record
        if meta is not None:
            mine = self.edit_meta()
            for name in META_FIELDS:
                setattr(mine, name, getattr(meta, name))
        self._rearmed += rearmed
