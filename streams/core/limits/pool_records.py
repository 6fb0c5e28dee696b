"""The pools of a command's transaction, with their queues and tickets, and the chains of each limit's pools."""

from __future__ import annotations

from typing import TypeVar

from backbeat.schemas.messages.limits import Limit, limit_key
from backbeat.streams.core.limits.records import FairnessQueue, Pool, SlotTicket
from backbeat.streams.core.tables import (
    FAIRNESS_QUEUES,
    FIRST_POOLS,
    LIMITS,
    LIMITS_ORDERED,
    POOLS,
    REFILL_CURSORS,
    SLOT_TICKETS,
)
from backbeat.streams.core.transaction import Transaction

_R = TypeVar("_R")


class PoolRecords:
    """Pools, queues and tickets in a transaction. A pointer to a missing record is an AssertionError."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    # --- limits ------------------------------------------------------------------------------------------------------

    def limit_of(self, client_id: bytes, activity: str) -> Limit | None:
        """The limit of an activity type; null: there is none (any more)."""
        return self._transaction.get(LIMITS, limit_key(client_id, activity))

    def change_limit(self, limit: Limit) -> None:
        """Store a limit, and put its refill cursor at its first pool."""
        transaction, key = self._transaction, limit_key(limit.client_id, limit.activity)
        if transaction.get(LIMITS_ORDERED, key) == limit:
            transaction.delete(LIMITS_ORDERED, key)
        transaction.put(LIMITS, key, limit if limit.binds else None)
        transaction.put(REFILL_CURSORS, key, transaction.get(FIRST_POOLS, key))

    def refill_cursor(self, client_id: bytes, activity: str) -> bytes | None:
        """The next pool that a change of the limit goes through; null: it has gone through all."""
        return self._transaction.get(REFILL_CURSORS, limit_key(client_id, activity))

    def set_refill_cursor(self, pool: Pool, pool_id: bytes | None) -> None:
        """Put the refill cursor of the pool's limit at another pool."""
        self._transaction.put(REFILL_CURSORS, limit_key(pool.client_id, pool.activity), pool_id)

    # --- pools -------------------------------------------------------------------------------------------------------

    def find(self, pool_id: bytes) -> Pool | None:
        """A pool, or null."""
        return self._transaction.edit(POOLS, pool_id)

    def pool(self, pool_id: bytes) -> Pool:
        """A pool; it must exist."""
        return _existing(self.find(pool_id), "a chain of pools with a hole")

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
        """Delete a pool; a refill cursor at it moves to the next one."""
        if self.refill_cursor(pool.client_id, pool.activity) == pool.id:
            self.set_refill_cursor(pool, pool.next)
        if pool.before is None:
            self._transaction.put(FIRST_POOLS, limit_key(pool.client_id, pool.activity), pool.next)
        else:
            self.pool(pool.before).next = pool.next
        if pool.next is not None:
            self.pool(pool.next).before = pool.before
        self._transaction.delete(POOLS, pool.id)

    def set_timer(self, pool: Pool, due: int) -> None:
        """Set the pool's timer. `due`: milliseconds since the epoch."""
        if pool.timer_at != due:
            pool.timer_at = due
            pool.timer_number += 1

    def clear_timer(self, pool: Pool) -> None:
        """Clear the pool's timer, if it has one."""
        pool.timer_at = None

    # --- queues and tickets ------------------------------------------------------------------------------------------

    def find_queue(self, pool: Pool, key: bytes) -> FairnessQueue | None:
        """A queue, or null."""
        return self._transaction.edit(FAIRNESS_QUEUES, (pool.id, key))

    def queue(self, pool: Pool, key: bytes) -> FairnessQueue:
        """A queue; it must exist."""
        return _existing(self._transaction.edit(FAIRNESS_QUEUES, (pool.id, key)), "a ring of queues with a hole")

    def add_queue(self, pool: Pool, key: bytes, queue: FairnessQueue) -> None:
        """Add a queue."""
        self._transaction.add(FAIRNESS_QUEUES, (pool.id, key), queue)

    def drop_queue(self, pool: Pool, key: bytes) -> None:
        """Delete a queue."""
        self._transaction.delete(FAIRNESS_QUEUES, (pool.id, key))

    def find_ticket(self, pool: Pool, node_id: bytes) -> SlotTicket | None:
        """A node's ticket, or null."""
        return self._transaction.edit(SLOT_TICKETS, (pool.id, node_id))

    def ticket(self, pool: Pool, node_id: bytes) -> SlotTicket:
        """A ticket; it must exist."""
        return _existing(self._transaction.edit(SLOT_TICKETS, (pool.id, node_id)), "a line with a hole")

    def add_ticket(self, pool: Pool, node_id: bytes, ticket: SlotTicket) -> None:
        """Add a ticket."""
        self._transaction.add(SLOT_TICKETS, (pool.id, node_id), ticket)

    def drop_ticket(self, pool: Pool, node_id: bytes) -> None:
        """Delete a ticket."""
        self._transaction.delete(SLOT_TICKETS, (pool.id, node_id))


def _existing(record: _R | None, message: str) -> _R:
    assert record is not None, message
    return record
