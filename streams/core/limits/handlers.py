"""Handlers of the commands and timers of limits, and their listeners on the statuses of nodes."""

from __future__ import annotations

from backbeat.schemas.messages.commands import AskSlot, ChangeLimit, FillPool, GrantSlot, ReleaseSlot, SpreadLimit
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.limits import grant, pool, slots
from backbeat.streams.core.step import Handler, StatusListener

HANDLERS: dict[type, Handler] = {
    ChangeLimit: slots.change_limit,
    SpreadLimit: pool.do,
    AskSlot: pool.do,
    GrantSlot: grant.granted,
    ReleaseSlot: pool.do,
    FillPool: pool.do,
}
TIMERS: dict[TimerKind, Handler] = {TimerKind.SLOT: pool.do}
#: Release the slot when an attempt ends, or will not begin.
ON_STATUS: dict[ServerStatus, StatusListener] = dict.fromkeys(slots.WITHOUT_SLOT, slots.release)
#: Acquire a slot before a node is sent.
BEFORE_SEND = slots.waits
