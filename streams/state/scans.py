"""What RocksDB holds of one kind of record, in the order of keys: what a walk over a partition reads (`layers.scan`).

An iterator that meets a damaged block is at its end, as if there were nothing more: only `status` raises.
"""

from __future__ import annotations

from collections.abc import Iterator

from rocksdict import Rdict, ReadOptions

from backbeat.streams.core.tables import KIND_AT


def pairs_with(db: Rdict, prefix: bytes, begin: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys from one on, as long as they begin so, and their values."""
    iterator = db.iter(ReadOptions())
    iterator.seek(begin)
    while iterator.valid() and (key := iterator.key()).startswith(prefix):
        yield key, iterator.value()
        iterator.next()
    iterator.status()


def keys_with(db: Rdict, first: bytes, after: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys behind one that begin with this byte, and their values."""
    return ((key, value) for key, value in pairs_with(db, first, after) if key > after)


def keys_of_kind(db: Rdict, kind: bytes, after: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys of workflows' records of this kind behind one, and their values.

    What lies before and behind this kind in a workflow (a large one's history, its nodes), or in a pool (its places),
    is passed over as a whole.
    """
    iterator = db.iter(ReadOptions())
    iterator.seek(after)
    while iterator.valid():
        key = iterator.key()
        if key[:1] != b"w":
            return
        kind_here = key[KIND_AT : KIND_AT + 1]
        if kind_here < kind:
            iterator.seek(key[:KIND_AT] + kind)
            continue
        if kind_here > kind:
            iterator.seek(key[:KIND_AT] + b"\xff")
            continue
        if key > after:
            yield key, iterator.value()
        iterator.next()
    iterator.status()
