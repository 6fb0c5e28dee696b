"""Schedules: the stored record and its view. Their runs are in `runs`.

A schedule is one record: its plan, the time up to which its times are handled, and its running, queued and recent runs,
each list bounded. Times are milliseconds since the epoch.
"""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages.schedules import NewSchedule, ScheduleRun, ScheduleView

#: Queued runs in a view.
_QUEUED_SHOWN_MAX = 20


class Schedule(msgspec.Struct, gc=False, array_like=True, kw_only=True):
    """A schedule and its runs."""

    version: int = 1
    id: bytes
    plan: NewSchedule
    made_by: bytes  #: the command that created it; part of the ids of its runs
    created_at: int
    updated_at: int
    after: int  #: times up to this one are handled
    paused: bool = False
    note: str = ""  #: reason of the last pause or resume
    next_at: int | None = None  #: null: there is none, or it is being computed
    problem: str = ""  #: reason why it has no next time
    timer_at: int | None = None
    timer_kind: int = 0
    timer_number: int = 0
    started: int = 0  #: count of runs ever signalled
    skipped: int = 0
    missed: int = 0
    running: tuple[ScheduleRun, ...] = ()  #: oldest first
    queued: tuple[ScheduleRun, ...] = ()  #: the next one first
    recent: tuple[ScheduleRun, ...] = ()  #: the rest, oldest first


def schedule_view(schedule: Schedule) -> ScheduleView:
    """The public view of a schedule."""
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
