"""The wait queue of a pool: the order in which waiting nodes get their slots.

The highest priority goes first; within it the fairness keys take turns; within one fairness key nodes go by the time of
their request. A node that has waited for the limit's `aging_seconds` counts as one priority higher, and so on: it is
served as soon as its priority is higher than that of the queue whose turn it is, or equal and the node is older.

A priority (`PriorityBand`) chains its nodes by age, and its queues, one a fairness key, in a ring; a queue chains its
nodes by age. So enqueue and remove follow a few pointers, however many nodes wait.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from backbeat.streams.core.limits.pool_records import PoolRecords
from backbeat.streams.core.limits.records import FairnessQueue, Pool, PriorityBand, SlotTicket

_QUEUE_KEY_BYTES = 8


class NextTicket(NamedTuple):
    """The node to serve next."""

    node_id: bytes
    ticket: SlotTicket
    by_turn: bool  #: it is its queue's turn; else it is served for its age


def queue_key(priority: int, fairness_key: str) -> bytes:
    """The key of a queue in its pool."""
    return bytes((priority,)) + blake2b(fairness_key.encode(), digest_size=_QUEUE_KEY_BYTES).digest()


def is_empty(pool: Pool) -> bool:
    """True when no node waits."""
    return _first_band(pool) is None


def _first_band(pool: Pool) -> int | None:
    """The index of the first priority of which nodes wait; null: none waits."""
    # Not `next` of a generator, which costs more than the loop: every command on a pool asks, twice mostly.
    for index, band in enumerate(pool.bands):
        if band.waiting:
            return index
    return None


def next_in_line(records: PoolRecords, pool: Pool, now: int, aging_seconds: float | None) -> NextTicket:
    """The next node of a queue that is not empty. `aging_seconds` null: priorities do not rise with age."""
    bands = pool.bands
    priority_index = _first_band(pool)
    assert priority_index is not None, "nobody waits"
    turn = bands[priority_index].turn
    assert turn is not None, "somebody waits and nobody is next"
    node_id = records.queue(pool, turn).first
    assert node_id is not None, "a queue in which nobody waits"
    served = NextTicket(node_id, records.ticket(pool, node_id), by_turn=True)
    if aging_seconds is None:
        return served
    served_rank = (priority_index, served.ticket.asked_at)
    for lower in range(priority_index + 1, len(bands)):
        oldest = bands[lower].oldest
        if oldest is not None:
            ticket = records.ticket(pool, oldest)
            risen_levels = int((now - ticket.asked_at) / (aging_seconds * 1000))
            aged_rank = (max(0, lower - risen_levels), ticket.asked_at)
            if aged_rank < served_rank:
                served_rank, served = aged_rank, NextTicket(oldest, ticket, by_turn=False)
    return served


def enqueue(records: PoolRecords, pool: Pool, node_id: bytes, ticket: SlotTicket) -> None:
    """Add a ticket at the end of its queue and of its band."""
    band = _band(pool, ticket)
    queue = records.find_queue(pool, ticket.queue) or _add_queue(records, pool, ticket.queue, band.turn)
    ticket.before, ticket.older = queue.last, band.newest
    if queue.last is None:
        queue.first = node_id
    else:
        records.ticket(pool, queue.last).next = node_id
    queue.last = node_id
    if band.newest is not None:
        records.ticket(pool, band.newest).younger = node_id
    turn, oldest = band.turn or ticket.queue, band.oldest or node_id
    _set_band(pool, ticket, PriorityBand(turn=turn, oldest=oldest, newest=node_id, waiting=band.waiting + 1))


def remove(records: PoolRecords, pool: Pool, ticket: SlotTicket, *, by_turn: bool) -> None:
    """Remove a ticket from its queue and its band. `by_turn`: it is served, and the next queue has the turn."""
    band = _band(pool, ticket)
    queue = records.queue(pool, ticket.queue)
    if ticket.before is None:
        queue.first = ticket.next
    else:
        records.ticket(pool, ticket.before).next = ticket.next
    if ticket.next is None:
        queue.last = ticket.before
    else:
        records.ticket(pool, ticket.next).before = ticket.before
    oldest, newest, turn = band.oldest, band.newest, queue.next if by_turn else band.turn
    if ticket.older is None:
        oldest = ticket.younger
    else:
        records.ticket(pool, ticket.older).younger = ticket.younger
    if ticket.younger is None:
        newest = ticket.older
    else:
        records.ticket(pool, ticket.younger).older = ticket.older
    if queue.first is None:
        turn = _drop_queue(records, pool, ticket.queue, turn)
    _set_band(pool, ticket, PriorityBand(turn=turn, oldest=oldest, newest=newest, waiting=band.waiting - 1))
    ticket.before = ticket.next = ticket.older = ticket.younger = None


def _add_queue(records: PoolRecords, pool: Pool, key: bytes, turn: bytes | None) -> FairnessQueue:
    """Add a queue at the end of the round: just before the queue whose turn it is."""
    if turn is None:
        queue = FairnessQueue(before=key, next=key)
    else:
        after = records.queue(pool, turn)
        queue = FairnessQueue(before=after.before, next=turn)
        records.queue(pool, after.before).next = key
        after.before = key
    records.add_queue(pool, key, queue)
    return queue


def _drop_queue(records: PoolRecords, pool: Pool, key: bytes, turn: bytes | None) -> bytes | None:
    """Delete an empty queue from the ring. Returns the queue whose turn it is then; null: none is left."""
    queue = records.queue(pool, key)
    records.drop_queue(pool, key)
    if queue.next == key:
        return None
    records.queue(pool, queue.before).next = queue.next
    records.queue(pool, queue.next).before = queue.before
    return queue.next if turn == key else turn


def _band(pool: Pool, ticket: SlotTicket) -> PriorityBand:
    return pool.bands[ticket.priority - 1]


def _set_band(pool: Pool, ticket: SlotTicket, band: PriorityBand) -> None:
    at = ticket.priority - 1
    pool.bands = (*pool.bands[:at], band, *pool.bands[at + 1 :])
