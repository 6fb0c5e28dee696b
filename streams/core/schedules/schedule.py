"""Schedules as they are stored and as the outside sees them. What happens to them is in `runs`.

A schedule is one record: what was asked for, how far its times have been dealt with, and the runs that there are and
were, each list bounded. Times are milliseconds since the epoch.
"""

from __future__ import annotations

import enum

import msgspec

from backbeat.streams.core.commands import NewSchedule, Overlap
from backbeat.streams.core.tree.status import word

#: Runs at the same time; one more is left out.
RUNNING_MAX = 100
#: Runs that wait for those before them; one more is left out.
QUEUED_MAX = 1_000
#: Ended, skipped and missed runs that are remembered, the newest.
RECENT_MAX = 20
OVERLAP_WORDS: dict[str, Overlap] = {word(overlap): overlap for overlap in Overlap}
#: Waiting runs that a view shows.
_QUEUED_SHOWN_MAX = 20


class RunState(enum.IntEnum):
    """What has become of a run."""

    QUEUED = 0  #: it waits for those before it
    RUNNING = 1  #: it was signalled, and its node is neither complete nor deactivated
    ENDED = 2  #: its node is complete or deactivated, or was refused
    CANCELED = 3  #: the schedule canceled it for a later one
    SKIPPED = 4  #: it was due while an earlier one had not ended
    MISSED = 5  #: nobody was there to start it within the catch-up window


class RunCause(enum.IntEnum):
    """Why there is a run."""

    DUE = 0  #: its time came
    TRIGGER = 1  #: somebody asked for one now
    BACKFILL = 2  #: somebody asked for one at each time of a range


class ScheduleRun(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """One run, or, of skipped and missed ones, several in a row."""

    scheduled_at: int
    cause: RunCause
    state: RunState
    at: int  #: when it came to this state
    started_at: int | None = None
    workflow_id: bytes | None = None
    node_id: bytes | None = None
    count: int = 1  #: how many in a row
    last_at: int | None = None  #: the scheduled time of the last of several


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


class ScheduleView(
    msgspec.Struct, gc=False, frozen=True, kw_only=True, array_like=True, tag_field="kind", tag="schedule"
):
    """A schedule as the outside sees it."""

    id: bytes
    plan: NewSchedule
    created_at: int
    updated_at: int
    after: int
    paused: bool
    note: str
    next_at: int | None
    problem: str
    started: int
    skipped: int
    missed: int
    running: tuple[ScheduleRun, ...]
    queued: tuple[ScheduleRun, ...]  #: the first of them
    queued_count: int
    recent: tuple[ScheduleRun, ...]


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
