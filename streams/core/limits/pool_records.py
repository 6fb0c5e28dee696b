"""The pools of a command's transaction, with their lanes and places, and the chains of each limit's pools."""

from __future__ import annotations

from typing import TypeVar

from backbeat.schemas.messages.limits import Limit, limit_key
from backbeat.streams.core.limits.records import Lane, Place, Pool
from backbeat.streams.core.tables import FILLING, FIRST_POOLS, LANES, LIMITS, LIMITS_ORDERED, PLACES, POOLS
from backbeat.streams.core.transaction import Transaction

_R = TypeVar("_R")


class PoolRecords:
    """Records that are read and changed in a transaction. What a pointer leads to must be there."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    # --- limits ------------------------------------------------------------------------------------------------------

    def limit_of(self, client_id: bytes, activity: str) -> Limit | None:
        """The limit of an activity type; null: there is none (any more)."""
        return self._transaction.get(LIMITS, limit_key(client_id, activity))

    def change_limit(self, limit: Limit) -> None:
        """Keep a limit from now on, and go through its pools again."""
        transaction, key = self._transaction, limit_key(limit.client_id, limit.activity)
        if transaction.get(LIMITS_ORDERED, key) == limit:
            transaction.delete(LIMITS_ORDERED, key)
        transaction.put(LIMITS, key, limit if limit.binds else None)
        transaction.put(FILLING, key, transaction.get(FIRST_POOLS, key))

    def filling(self, client_id: bytes, activity: str) -> bytes | None:
        """The pool that a change of the limit has come to; null: it has come to the end."""
        return self._transaction.get(FILLING, limit_key(client_id, activity))

    def set_filling(self, pool: Pool, pool_id: bytes | None) -> None:
        """A change of the pool's limit has come to this pool."""
        self._transaction.put(FILLING, limit_key(pool.client_id, pool.activity), pool_id)

    # --- pools -------------------------------------------------------------------------------------------------------

    def find(self, pool_id: bytes) -> Pool | None:
        """A pool, or null."""
        return self._transaction.edit(POOLS, pool_id)

    def pool(self, pool_id: bytes) -> Pool:
        """A pool that must be there."""
        return _there(self.find(pool_id), "a chain of pools with a hole")

    def add(self, pool: Pool) -> None:
        """A new pool, at the head of its limit's chain."""
        key = limit_key(pool.client_id, pool.activity)
        first = self._transaction.get(FIRST_POOLS, key)
        if first is not None:
            pool.next = first
            self.pool(first).before = pool.id
        self._transaction.put(FIRST_POOLS, key, pool.id)
        self._transaction.add(POOLS, pool.id, pool)

    def drop(self, pool: Pool) -> None:
        """Forget a pool; a change of the limit that has come to it goes on behind it."""
        if self.filling(pool.client_id, pool.activity) == pool.id:
            self.set_filling(pool, pool.next)
        if pool.before is None:
            self._transaction.put(FIRST_POOLS, limit_key(pool.client_id, pool.activity), pool.next)
        else:
            self.pool(pool.before).next = pool.next
        if pool.next is not None:
            self.pool(pool.next).before = pool.before
        self._transaction.delete(POOLS, pool.id)

    def set_timer(self, pool: Pool, due: int) -> None:
        """Look at the pool again at this time."""
        if pool.timer_at != due:
            pool.timer_at = due
            pool.timer_number += 1

    def clear_timer(self, pool: Pool) -> None:
        """Forget the pool's timer, if it has one."""
        pool.timer_at = None

    # --- who waits ---------------------------------------------------------------------------------------------------

    def find_lane(self, pool: Pool, key: bytes) -> Lane | None:
        """A lane, or null."""
        return self._transaction.edit(LANES, (pool.id, key))

    def lane(self, pool: Pool, key: bytes) -> Lane:
        """A lane that must be there."""
        return _there(self.find_lane(pool, key), "a ring of lanes with a hole")

    def add_lane(self, pool: Pool, key: bytes, lane: Lane) -> None:
        """A new lane."""
        self._transaction.add(LANES, (pool.id, key), lane)

    def drop_lane(self, pool: Pool, key: bytes) -> None:
        """Forget a lane."""
        self._transaction.delete(LANES, (pool.id, key))

    def find_place(self, pool: Pool, node_id: bytes) -> Place | None:
        """A node's place, or null."""
        return self._transaction.edit(PLACES, (pool.id, node_id))

    def place(self, pool: Pool, node_id: bytes) -> Place:
        """A place that must be there."""
        return _there(self.find_place(pool, node_id), "a line with a hole")

    def add_place(self, pool: Pool, node_id: bytes, place: Place) -> None:
        """A new place."""
        self._transaction.add(PLACES, (pool.id, node_id), place)

    def drop_place(self, pool: Pool, node_id: bytes) -> None:
        """Forget a place."""
        self._transaction.delete(PLACES, (pool.id, node_id))


def _there(record: _R | None, why: str) -> _R:
    assert record is not None, why
    return record
