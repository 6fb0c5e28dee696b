"""Schedules as they are stored and as the outside sees them. What happens to them is in `runs`.

A schedule is one record: what was asked for, how far its times have been dealt with, and the runs that there are and
were, each list bounded. Times are milliseconds since the epoch.
"""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages.schedules import NewSchedule, ScheduleRun, ScheduleView

#: Runs at the same time; one more is left out.
RUNNING_MAX = 100
#: Runs that wait for those before them; one more is left out.
QUEUED_MAX = 1_000
#: Ended, skipped and missed runs that are remembered, the newest.
RECENT_MAX = 20
#: Waiting runs that a view shows.
_QUEUED_SHOWN_MAX = 20


class Schedule(msgspec.Struct, gc=False, array_like=True, kw_only=True):
    """A schedule, and what it has done."""

    version: int = 1
    id: bytes
    plan: NewSchedule
    made_by: bytes  #: the command that made it: its runs are named after that, too
    created_at: int
    updated_at: int
    after: int  #: the times up to this one have been dealt with
    paused: bool = False
    note: str = ""  #: why it was paused or resumed
    next_at: int | None = None  #: null: there is none, or it is being worked out
    problem: str = ""  #: why it has no next time
    timer_at: int | None = None
    timer_kind: int = 0
    timer_number: int = 0
    started: int = 0  #: how many runs were signalled, ever
    skipped: int = 0
    missed: int = 0
    running: tuple[ScheduleRun, ...] = ()  #: oldest first
    queued: tuple[ScheduleRun, ...] = ()  #: the next one first
    recent: tuple[ScheduleRun, ...] = ()  #: the rest, oldest first


def schedule_view(schedule: Schedule) -> ScheduleView:
    """A schedule as the outside sees it."""
    return ScheduleView(
        id=schedule.id,
        plan=schedule.plan,
        created_at=schedule.created_at,
        updated_at=schedule.updated_at,
        after=schedule.after,
        paused=schedule.paused,
        note=schedule.note,
        next_at=schedule.next_at,
        problem=schedule.problem,
        started=schedule.started,
        skipped=schedule.skipped,
        missed=schedule.missed,
        running=schedule.running,
        queued=schedule.queued[:_QUEUED_SHOWN_MAX],
        queued_count=len(schedule.queued),
        recent=schedule.recent,
    )
