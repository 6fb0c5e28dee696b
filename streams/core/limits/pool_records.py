"""The records of pools that one command works on: copies, put back when its work is done."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import TypeVar

from backbeat.schemas.messages.limits import Limit, limit_key
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.records import Lane, Place, Pool
from backbeat.streams.core.store import Store

_K = TypeVar("_K")
_R = TypeVar("_R")


class PoolRecords:
    """Pools, their lanes and places, and the chains of each limit's pools. Nothing is changed until `put_back`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pools: dict[bytes, Pool | None] = {}
        self._lanes: dict[tuple[bytes, bytes], Lane | None] = {}
        self._places: dict[tuple[bytes, bytes], Place | None] = {}
        #: by limit: the first pool of its chain, and the pool that a change of the limit has come to
        self._first: dict[bytes, bytes | None] = {}
        self._filling: dict[bytes, bytes | None] = {}
        self._timers: list[tuple[int, bytes, int | None]] = []
        self._limit: Limit | None = None

    # --- limits ------------------------------------------------------------------------------------------------------

    def limit_of(self, client_id: bytes, activity: str) -> Limit | None:
        """The limit of an activity type as this command leaves it; null: there is none (any more)."""
        changed = self._limit
        if changed is not None and (changed.client_id, changed.activity) == (client_id, activity):
            return changed if changed.binds else None
        return self._store.meta.limits.get(limit_key(client_id, activity))

    def change_limit(self, limit: Limit) -> None:
        """Keep a limit from now on, and go through its pools again."""
        self._limit = limit
        key = limit_key(limit.client_id, limit.activity)
        self._filling[key] = self._store.meta.pools.get(key)

    def filling(self, client_id: bytes, activity: str) -> bytes | None:
        """The pool that a change of the limit has come to; null: it has come to the end."""
        key = limit_key(client_id, activity)
        return self._filling[key] if key in self._filling else self._store.meta.filling.get(key)

    def set_filling(self, pool: Pool, pool_id: bytes | None) -> None:
        """A change of the pool's limit has come to this pool."""
        self._filling[limit_key(pool.client_id, pool.activity)] = pool_id

    # --- pools -------------------------------------------------------------------------------------------------------

    def find(self, pool_id: bytes) -> Pool | None:
        """A pool, or null."""
        return _copied(self._pools, pool_id, self._store.get_pool)

    def pool(self, pool_id: bytes) -> Pool:
        """A pool that must be there."""
        pool = self.find(pool_id)
        assert pool is not None, "a chain of pools with a hole"
        return pool

    def add(self, pool: Pool) -> None:
        """A new pool, at the head of its limit's chain."""
        key = limit_key(pool.client_id, pool.activity)
        first = self._first[key] if key in self._first else self._store.meta.pools.get(key)
        if first is not None:
            pool.next = first
            self.pool(first).before = pool.id
        self._first[key] = pool.id
        self._pools[pool.id] = pool

    def drop(self, pool: Pool) -> None:
        """Forget a pool; a change of the limit that has come to it goes on behind it."""
        key = limit_key(pool.client_id, pool.activity)
        if self.filling(pool.client_id, pool.activity) == pool.id:
            self._filling[key] = pool.next
        if pool.before is None:
            self._first[key] = pool.next
        else:
            self.pool(pool.before).next = pool.next
        if pool.next is not None:
            self.pool(pool.next).before = pool.before
        self.clear_timer(pool)
        self._pools[pool.id] = None

    def set_timer(self, pool: Pool, due: int) -> None:
        """Look at the pool again at this time."""
        if pool.timer_at == due:
            return
        self.clear_timer(pool)
        pool.timer_at = due
        pool.timer_number += 1
        self._timers.append((due, pool.id, pool.timer_number))

    def clear_timer(self, pool: Pool) -> None:
        """Forget the pool's timer, if it has one."""
        if pool.timer_at is not None:
            self._timers.append((pool.timer_at, pool.id, None))
            pool.timer_at = None

    # --- lanes and places --------------------------------------------------------------------------------------------

    def find_lane(self, pool: Pool, key: bytes) -> Lane | None:
        """A lane, or null."""
        return _copied(self._lanes, (pool.id, key), lambda pair: self._store.get_lane(*pair))

    def lane(self, pool: Pool, key: bytes) -> Lane:
        """A lane that must be there."""
        lane = self.find_lane(pool, key)
        assert lane is not None, "a ring of lanes with a hole"
        return lane

    def put_lane(self, pool: Pool, key: bytes, lane: Lane | None) -> None:
        """Keep a new lane, or forget one (null)."""
        self._lanes[pool.id, key] = lane

    def find_place(self, pool: Pool, node_id: bytes) -> Place | None:
        """A node's place, or null."""
        return _copied(self._places, (pool.id, node_id), lambda pair: self._store.get_place(*pair))

    def place(self, pool: Pool, node_id: bytes) -> Place:
        """A place that must be there."""
        place = self.find_place(pool, node_id)
        assert place is not None, "a line with a hole"
        return place

    def put_place(self, pool: Pool, node_id: bytes, place: Place | None) -> None:
        """Keep a new place, or forget one (null)."""
        self._places[pool.id, node_id] = place

    # --- ending ------------------------------------------------------------------------------------------------------

    def put_back(self) -> None:
        """Put everything back that has changed."""
        store, meta = self._store, self._store.meta
        for pool_id, pool in self._pools.items():
            if pool is None:
                store.delete_pool(pool_id)
            elif pool != store.get_pool(pool_id):
                store.put_pool(pool)
        for (pool_id, key), lane in self._lanes.items():
            if lane is None:
                store.delete_lane(pool_id, key)
            elif lane != store.get_lane(pool_id, key):
                store.put_lane(pool_id, key, lane)
        for (pool_id, node_id), place in self._places.items():
            if place is None:
                store.delete_place(pool_id, node_id)
            elif place != store.get_place(pool_id, node_id):
                store.put_place(pool_id, node_id, place)
        _put_heads(meta.pools, self._first)
        _put_heads(meta.filling, self._filling)
        for due, pool_id, number in self._timers:
            if number is None:
                store.clear_timer(due, pool_id, TimerKind.SLOT)
            else:
                store.set_timer(due, pool_id, TimerKind.SLOT, number)
        limit = self._limit
        if limit is not None:
            key = limit_key(limit.client_id, limit.activity)
            if meta.limits_ordered.get(key) == limit:
                del meta.limits_ordered[key]
            if limit.binds:
                meta.limits[key] = limit
            else:
                meta.limits.pop(key, None)


def _put_heads(kept: dict[bytes, bytes], changed: dict[bytes, bytes | None]) -> None:
    for key, head in changed.items():
        if head is None:
            kept.pop(key, None)
        else:
            kept[key] = head


def _copied(cache: dict[_K, _R | None], key: _K, get: Callable[[_K], _R | None]) -> _R | None:
    """A copy of a record, to be read or changed, the same one each time."""
    if key not in cache:
        stored = get(key)
        if stored is None:
            return None
        cache[key] = copy(stored)
    return cache[key]
