"""What is stored of limits: pools, and who waits at them or has a slot of them."""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages.values import PRIORITY_DEFAULT, PRIORITY_LAST


class PriorityBand(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """The nodes of one priority that wait at a pool."""

    turn: bytes | None = None  #: the lane that is served next
    oldest: bytes | None = None  #: chain of the nodes, by the time of asking
    newest: bytes | None = None
    waiting: int = 0


class Pool(msgspec.Struct, gc=False, array_like=True, kw_only=True):
    """The slots of one activity type and key: who has one is counted, who waits is in a queue (`limits.pool`)."""

    version: int = 1
    id: bytes
    client_id: bytes
    activity: str
    key: str  #: JSON text of the key's value; empty: the limit has none
    out: int = 0  #: slots given and not taken back
    levels: tuple[PriorityBand, ...] = (PriorityBand(),) * PRIORITY_LAST  #: by priority
    #: the rate (GCRA): when the next start would be due if they came evenly, in microseconds since the epoch
    due_us: int = 0
    timer_at: int | None = None
    timer_number: int = 0
    before: bytes | None = None  #: chain of the limit's pools in this partition
    next: bytes | None = None


class Lane(msgspec.Struct, gc=False, array_like=True, kw_only=True):
    """The nodes of one priority and fairness key that wait at a pool, by the time of asking; lanes form a ring."""

    version: int = 1
    first: bytes | None = None
    last: bytes | None = None
    before: bytes  #: the lanes beside it in the ring; itself when it is alone
    next: bytes


class Place(msgspec.Struct, gc=False, array_like=True, kw_only=True):
    """One node at a pool: it waits for a slot, or has one."""

    version: int = 1
    number: int  #: of the asking
    out: bool  #: it has a slot
    asked_at: int
    priority: int = PRIORITY_DEFAULT
    lane: bytes = b""
    before: bytes | None = None  #: its neighbours in the lane
    next: bytes | None = None
    older: bytes | None = None  #: its neighbours in the level
    younger: bytes | None = None
