"""A transaction: the records that one command reads and changes, committed together or rolled back.

    get     a record, to be read only
    edit    a record, to be changed: the transaction's own copy, the same each time
    add     a new record
    put     a record, new or in place of a stored one
    delete  a record
    scan    records in the order of their keys, with this transaction's changes

Nothing changes below until `commit`, which hands over all changed records at once. Below is the store, or an outer
transaction: so one of several changes in a command can be rolled back by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any, TypeVar

from backbeat.streams.core.records import Meta
from backbeat.streams.core.store import Rows, Store, in_order
from backbeat.streams.core.tables import META_FIELDS, MetaTable, Table, Timer

_K = TypeVar("_K")
_R = TypeVar("_R")
_MISSING: Any = object()


def _no_rows() -> Rows:
    return {}, {}


class Transaction:
    """A command's view of a partition's records. It is a `Store` itself, for inner transactions."""

    def __init__(self, store: Store) -> None:
        self._store = store
        #: to be read only; its dictionaries as they were before: they are tables, read by `get`
        self.meta: Meta = store.meta
        self._edits_meta = False
        self._rows: defaultdict[Any, Rows] = defaultdict(_no_rows)
        self._rearmed: list[Timer] = []

    # --- reading -----------------------------------------------------------------------------------------------------

    def get(self, table: Table[_K, _R] | MetaTable[_K, _R], key: _K) -> _R | None:
        """A record with this transaction's changes, to be read only; null: there is none."""
        rows = self._rows.get(table)
        if rows is not None:
            record: _R | None = rows[0].get(key, _MISSING)
            if record is not _MISSING:
                return record
        return self._store.get(table, key)

    def keys(self, table: MetaTable[_K, _R]) -> set[_K]:
        """The keys of all entries."""
        keys = self._store.keys(table)
        for key, record in self._rows[table][0].items():
            (keys.discard if record is None else keys.add)(key)
        return keys

    def scan(self, table: Table[_K, _R], after: _K | None, count: int) -> list[tuple[_K, _R]]:
        """The first `count` records behind a key, in the order of keys; null: from the first on. To be read only."""
        rows = self._rows.get(table)
        if rows is None:
            return self._store.scan(table, after, count)
        return in_order(lambda behind, most: self._store.scan(table, behind, most), rows[0], after, count)

    def has_changed(self, table: Table[_K, _R], key: _K) -> bool:
        """True when a record has changed."""
        own, before = self._rows[table]
        return bool(own.get(key) != before.get(key))

    # --- changing ----------------------------------------------------------------------------------------------------

    def own(self, table: Table[_K, _R]) -> dict[_K, _R | None]:
        """The table's records that this transaction has changed: a shortcut for hot paths."""
        return self._rows[table][0]

    def edit(self, table: Table[_K, _R], key: _K) -> _R | None:
        """A record to be changed; null: there is none."""
        own, before = self._rows[table]
        record: Any = own.get(key, _MISSING)
        if record is _MISSING:
            record = self._store.get(table, key)
            if record is not None:
                before[key] = record
                # As `copy.copy` would, but quicker.
                own[key] = record = record.__copy__()
        return record  # type: ignore[no-any-return]  # rows have no types of their own

    def add(self, table: Table[_K, _R], key: _K, record: _R) -> None:
        """Add a record; the caller knows that there is none."""
        self._rows[table][0][key] = record

    def put(self, table: Table[_K, _R] | MetaTable[_K, _R], key: _K, record: _R | None) -> None:
        """Put a record; null: delete it."""
        own, before = self._rows[table]
        if key not in own:
            before[key] = self._store.get(table, key)
        own[key] = record

    def delete(self, table: Table[_K, _R] | MetaTable[_K, _R], key: _K) -> None:
        """Delete a record, if there is one."""
        self.put(table, key, None)

    def edit_meta(self) -> Meta:
        """The meta record, to be changed; its dictionaries are tables, to be changed by `put`."""
        if not self._edits_meta:
            self.meta = copy(self.meta)
            self._edits_meta = True
        return self.meta

    def rearm(self, timer: Timer) -> None:
        """Set a timer that has fired too early again."""
        self._rearmed.append(timer)

    # --- ending ------------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Hand the changes to the store."""
        self._store.merge(self._rows, self.meta if self._edits_meta else None, self._rearmed)

    def rollback(self) -> None:
        """Drop the changes."""
        self.meta = self._store.meta
        self._edits_meta = False
        self._rows = defaultdict(_no_rows)
        self._rearmed = []

    def merge(self, rows: Mapping[Any, Rows], meta: Meta | None, rearmed: Iterable[Timer]) -> None:
        """Take over the changes of a transaction within this one."""
        for table, (inner_records, inner_before) in rows.items():
            own, before = self._rows[table]
            for key, record in inner_records.items():
                if key not in own:
                    before[key] = inner_before.get(key)
                own[key] = record
        if meta is not None:
            own_meta = self.edit_meta()
            for name in META_FIELDS:
                setattr(own_meta, name, getattr(meta, name))
        self._rearmed += rearmed
