"""Schedules: as they are asked for, their runs, and as the outside sees them."""

from __future__ import annotations

import enum

import msgspec

from backbeat.schemas.messages.status import word
from backbeat.schemas.messages.values import NewNode, NewWorkflow

#: How late a run of a schedule may be where nothing is said: one of the night is still run in the morning.
CATCH_UP_SECONDS = 86_400.0


class Overlap(enum.IntEnum):
    """What is done with a run of a schedule that is due while an earlier one has not ended."""

    SKIP = 0  #: it is left out
    QUEUE = 1  #: it starts when those before it have ended
    CANCEL = 2  #: those that run are canceled, and it starts
    ALLOW = 3  #: it starts beside them


class NewSchedule(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A schedule as it is asked for: when, what is signalled then, and what becomes of runs that meet or are late."""

    user_id: bytes  #: whose it is; its id follows from this and the name (`ids.schedule_id`)
    name: str
    cron: str = ""  #: five fields; empty: it goes by its interval
    zone: str = "UTC"  #: IANA name of the time zone that the fields are read in
    interval_seconds: float = 0.0
    offset_seconds: float = 0.0  #: intervals are counted from this long after the epoch
    workflow: NewWorkflow  #: in its subject, `{scheduled_at}` stands for the time
    node: NewNode  #: the signal
    overlap: Overlap = Overlap.SKIP
    catch_up_seconds: float = CATCH_UP_SECONDS  #: a run that is later than this is missed


OVERLAP_WORDS: dict[str, Overlap] = {word(overlap): overlap for overlap in Overlap}


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


class Schedules(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="schedules"):
    """A part of a list of schedules."""

    schedules: tuple[ScheduleView, ...]


#: Times of one backfill; more may follow in further commands.
BACKFILL_MAX = 1_000

#: A timer is a moment late in any case.
CATCH_UP_SECONDS_MIN = 10.0

INTERVAL_SECONDS_MIN = 1.0

SECONDS_MAX = 10 * 365 * 86_400.0
