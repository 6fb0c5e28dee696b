"""Stored records of limits: pools, their queues, and the tickets of nodes that wait for a slot or have one."""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages.values import PRIORITY_DEFAULT, PRIORITY_LAST


class PriorityBand(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """The nodes of one priority that wait at a pool."""

    turn: bytes | None = None  #: the queue whose turn is next
    oldest: bytes | None = None  #: chain of the nodes, by the time of their request
    newest: bytes | None = None
    waiting: int = 0


class Pool(msgspec.Struct, gc=False, array_like=True, kw_only=True):
    """The slots of one activity type and key (`limits.pool`): a count of those in use, and queues of waiting nodes."""

    version: int = 1
    id: bytes
    client_id: bytes
    activity: str
    key: str  #: JSON text of the key's value; empty: the limit has none
    in_use: int = 0  #: slots in use
    bands: tuple[PriorityBand, ...] = (PriorityBand(),) * PRIORITY_LAST  #: by priority
    #: the rate (GCRA): due time of the next start if they came evenly, microseconds since the epoch
    due_us: int = 0
    timer_at: int | None = None
    timer_number: int = 0
    before: bytes | None = None  #: chain of the limit's pools in this partition
    next: bytes | None = None


class FairnessQueue(msgspec.Struct, gc=False, array_like=True, kw_only=True):
    """The nodes of one priority and fairness key waiting at a pool, by request time; queues form a ring."""

    version: int = 1
    first: bytes | None = None
    last: bytes | None = None
    before: bytes  #: the queues beside it in the ring; itself when it is alone
    next: bytes


class SlotTicket(msgspec.Struct, gc=False, array_like=True, kw_only=True):
    """A node at a pool: it waits for a slot, or has one."""

    version: int = 1
    number: int  #: of the node's request
    has_slot: bool  #: false: it waits for one
    asked_at: int
    priority: int = PRIORITY_DEFAULT
    queue: bytes = b""
    before: bytes | None = None  #: its neighbours in the queue
    next: bytes | None = None
    older: bytes | None = None  #: its neighbours in the band
    younger: bytes | None = None
