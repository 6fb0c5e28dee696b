"""Records of one kind and partition, in three layers: changed, in flight (being committed), stored behind a cache.

A read sees the newest layer that has the key, tombstones included. Only a commit moves records down, so RocksDB never
holds what the changelog does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Generic, TypeVar

from backbeat.streams.core.store import in_order

K = TypeVar("K")
R = TypeVar("R")
_MISSING: Any = object()


class Layers(Generic[K, R]):
    """Records of one kind by their keys in the table. RocksDB's keys are made where it is read or written only."""

    def __init__(
        self,
        read: Callable[[bytes], bytes | None],
        encode_key: Callable[[K], bytes],
        encode: Callable[[R], bytes],
        decode: Callable[[bytes], R],
        size: int,
        *,
        comes_and_goes: bool = False,
    ) -> None:
        self._read = read
        self._encode_key = encode_key
        self._encode = encode
        self._decode = decode
        self._comes_and_goes = comes_and_goes
        #: records that a generation of the cache holds; two generations are kept
        self._generation_size = max(1, size // 2)
        self._changed: dict[K, R | None] = {}
        self._in_flight: dict[K, R | None] = {}
        self._young: dict[K, R] = {}
        self._old: dict[K, R] = {}
        #: keys first put since the last snapshot: a deletion leaves nothing to write
        self._fresh: set[K] = set()

    def get(self, key: K) -> R | None:
        """A record, or null."""
        record = self._changed.get(key, _MISSING)
        if record is not _MISSING:
            return record
        record = self._young.get(key)
        if record is not None:
            return record
        record = self._in_flight.get(key, _MISSING)
        if record is not _MISSING:
            return record
        record = self._old.get(key)
        if record is None:
            value = self._read(self._encode_key(key))
            if value is None:
                return None
            record = self._decode(value)
        self._cache(key, record)
        return record

    def _cache(self, key: K, record: R) -> None:
        self._young[key] = record
        if len(self._young) >= self._generation_size:
            self._old = self._young
            self._young = {}

    def scan(
        self, after: K | None, count: int, stored: Callable[[K | None], Iterator[tuple[K, bytes]]]
    ) -> list[tuple[K, R]]:
        """The first `count` records behind a key (null: from the first on), in the order of keys, from all layers.

        `stored` reads RocksDB behind a key. The result does not depend on the progress of a commit, so every replay
        gets the same.
        """

        def below(behind: K | None, most: int) -> list[tuple[K, R]]:
            return [(key, self._decode(value)) for key, value in islice(stored(behind), most)]

        return in_order(below, {**self._in_flight, **self._changed}, after, count)

    def keep(self, key: K, record: R | None, is_new: bool) -> None:  # noqa: FBT001 - the way of every change
        """Put a record; null: delete it. `is_new`: the caller knows that there was none."""
        if record is None:
            self.delete(key)
            return
        if is_new and self._comes_and_goes and key not in self._changed and key not in self._in_flight:
            self._fresh.add(key)
        self._changed[key] = record
        self._young.pop(key, None)

    def delete(self, key: K) -> None:
        """Delete a record. One that was never written leaves no tombstone."""
        self._young.pop(key, None)
        self._old.pop(key, None)
        if key in self._fresh:
            self._fresh.discard(key)
            del self._changed[key]
        else:
            self._changed[key] = None

    @property
    def changed_count(self) -> int:
        """Count of records in the next snapshot."""
        return len(self._changed)

    @property
    def cached_count(self) -> int:
        """Count of decoded records in memory."""
        return len(self._changed) + len(self._in_flight) + len(self._young) + len(self._old)

    def snapshot(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Move changed records into flight, and yield them encoded; null: a tombstone. None may be in flight before."""
        assert not self._in_flight, "one commit at a time"
        self._in_flight, self._changed = self._changed, {}
        self._fresh.clear()
        encode_key, encode = self._encode_key, self._encode
        for key, record in self._in_flight.items():
            yield encode_key(key), None if record is None else encode(record)

    def mark_durable(self) -> None:
        """The records in flight are in RocksDB now."""
        changed, young, size = self._changed, self._young, self._generation_size
        for key, record in self._in_flight.items():
            if record is None:
                self._old.pop(key, None)
            elif key not in changed:
                # As `_cache`, for all of them.
                young[key] = record
                if len(young) >= size:
                    self._old = young
                    self._young = young = {}
        self._in_flight = {}
