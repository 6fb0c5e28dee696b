"""The commands that are about limits, their pools and slots, and what the statuses of nodes have to do with them."""

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
#: An attempt has ended, or is not to begin any more.
ON_STATUS: dict[ServerStatus, StatusListener] = dict.fromkeys(slots.WITHOUT_SLOT, slots.release)
#: A node waits for its slot before it is sent.
BEFORE_SEND = slots.waits
