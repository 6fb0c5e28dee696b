"""Engines as they tell of themselves: which has which partition, and how that stands. `await client.engines()`."""

from __future__ import annotations

import asyncio
from datetime import datetime

import msgspec

from backbeat.client.session import Session
from backbeat.errors import Timeout, Unavailable
from backbeat.payload.values import to_datetime
from backbeat.schemas.messages.queries import GetEngine
from backbeat.schemas.messages.views import EngineView

_SECONDS_MAX = 2.0


class EnginePartition(msgspec.Struct, frozen=True, kw_only=True):
    """A partition, as the engine tells that has it."""

    partition: int
    state: str  #: `ready`, `restoring`, `catching_up`; `silent`: nobody has answered within two seconds
    engine: str | None  #: instance that has it; None: it is silent
    version: str | None  #: of that engine
    since: datetime | None  #: when that engine was started
    position: int  #: offset of the next command that it applies
    waiting: int  #: commands that it has read and not applied
    restored: float  #: of a restore: the share that is done, 0 to 1
    restore_left: int  #: of a restore: offsets of the state topic that are still to be read
    timers_soon: int  #: timers that are due within a minute
    timers_overdue: int  #: timers in memory that are due, and not applied yet
    overdue_since: datetime | None  #: when the first of these was due


async def get_engines(session: Session) -> list[EnginePartition]:
    """All partitions, in their order. Unavailable: none could be asked."""
    await session.ready()
    numbers = range(session.transport.partitions)
    answers = await asyncio.gather(*(_ask(session, number) for number in numbers))
    unasked = [answer for answer in answers if isinstance(answer, Unavailable)]
    if len(unasked) == len(answers):
        # Nothing is known of the engines: it is the way to them that is broken.
        raise unasked[0]
    return [
        _partition(number, None if isinstance(answer, Exception) else answer) for number, answer in enumerate(answers)
    ]


async def _ask(session: Session, number: int) -> EngineView | Timeout | Unavailable:
    query = GetEngine(partition=number, **session.query_fields())
    try:
        (view,) = await session.query(query, f"the engine of partition {number}", min(_SECONDS_MAX, session.timeout))
    except (Timeout, Unavailable) as error:
        return error
    assert isinstance(view, EngineView)
    return view


def _partition(number: int, view: EngineView | None) -> EnginePartition:
    overdue_since = None if view is None else view.overdue_since
    return EnginePartition(
        partition=number,
        state="silent" if view is None else view.state.value,
        engine=None if view is None else view.instance,
        version=None if view is None else view.version,
        since=None if view is None else to_datetime(view.since),
        position=0 if view is None else view.position,
        waiting=0 if view is None else view.waiting,
        restored=0.0 if view is None else view.restored,
        restore_left=0 if view is None else view.restore_left,
        timers_soon=0 if view is None else view.timers_soon,
        timers_overdue=0 if view is None else view.timers_overdue,
        overdue_since=None if overdue_since is None else to_datetime(overdue_since),
    )
