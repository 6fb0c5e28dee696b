"""Walks over many records of a partition in the order of their keys, through all three layers of its store.

For what happens seldom: what every command does follows pointers. A walk takes some records and begins anew behind them
later, so nothing is held meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import nsmallest

from rocksdict import Rdict, ReadOptions

from backbeat.streams.core.ids import PREFIX_BYTES
from backbeat.streams.table import Table

_KIND_AT = 1 + PREFIX_BYTES
_WORKFLOW = b"w"


def keys_after(table: Table, stored: Iterator[bytes], after: bytes, limit: int) -> list[bytes]:  # type: ignore[type-arg]  # of any kind
    """The first keys of a table's records behind one, at most so many. `stored`: those in RocksDB, in order."""
    unstored = table.unstored()
    fresh = [key for key, is_there in unstored.items() if is_there and key > after]
    found: list[bytes] = []
    for key in stored:
        if key > after and key not in unstored:
            found.append(key)
            if len(found) == limit:
                break
    return nsmallest(limit, (*found, *fresh))


def workflow_keys(db: Rdict, after: bytes) -> Iterator[bytes]:
    """The keys of workflows in RocksDB from `after` on. Their nodes, which lie between them, are leapt over."""

    def leap(key: bytes) -> bytes | None:
        prefix, kind = key[:_KIND_AT], key[_KIND_AT : _KIND_AT + 1]
        return prefix + _WORKFLOW if kind < _WORKFLOW else None

    return _keys(db, after, b"w", lambda key: key[_KIND_AT : _KIND_AT + 1] == _WORKFLOW, leap)


def keys_from(db: Rdict, begin: bytes, prefix: bytes) -> Iterator[bytes]:
    """The keys in RocksDB with this prefix, from `begin` on."""
    return _keys(db, begin, prefix, lambda _: True, lambda _: None)


def _keys(
    db: Rdict,
    begin: bytes,
    prefix: bytes,
    wanted: Callable[[bytes], bool],
    leap: Callable[[bytes], bytes | None],
) -> Iterator[bytes]:
    iterator = db.iter(ReadOptions())
    iterator.seek(max(begin, prefix))
    while iterator.valid():
        key: bytes = iterator.key()
        if not key.startswith(prefix):
            return
        if wanted(key):
            yield key
            iterator.next()
        elif (target := leap(key)) is not None:
            iterator.seek(target)
        else:
            iterator.next()
