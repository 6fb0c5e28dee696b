"""Scans of RocksDB in the order of keys, for `layers.scan`.

An iterator ends at a damaged block as at the last key: only `status` raises.
"""

from __future__ import annotations

from collections.abc import Iterator

from rocksdict import Rdict, ReadOptions

from backbeat.streams.core.tables import KIND_AT


def pairs_with(db: Rdict, prefix: bytes, begin: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys with a prefix, from `begin` on, and their values."""
    iterator = db.iter(ReadOptions())
    iterator.seek(begin)
    while iterator.valid() and (key := iterator.key()).startswith(prefix):
        yield key, iterator.value()
        iterator.next()
    iterator.status()


def keys_with(db: Rdict, first: bytes, after: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys with this first byte, behind `after`, and their values."""
    for key, value in pairs_with(db, first, after):
        if key > after:
            yield key, value


def keys_of_kind(db: Rdict, kind: bytes, after: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys of workflows' records of a kind, behind `after`, and their values.

    Other kinds of a workflow (a large one's history, its nodes) or of a pool (its tickets) are skipped by a seek.
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
