"""Schedules: as they are asked for, their runs, and as the outside sees them."""

from __future__ import annotations

import enum

import msgspec

from backbeat.schemas.marks import Id, Long, Time
from backbeat.schemas.messages.status import word
from backbeat.schemas.messages.values import NewNode, NewWorkflow

#: How late a run of a schedule may be where nothing is said: one of the night is still run in the morning.
CATCH_UP_SECONDS = 86_400.0


class Overlap(enum.IntEnum):
    """Rule for a run of a schedule that is due while an earlier one has not ended."""

    SKIP = 0  #: it is left out
    QUEUE = 1  #: it starts when those before it have ended
    CANCEL = 2  #: those that run are canceled, and it starts
    ALLOW = 3  #: it starts beside them


class NewSchedule(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A schedule as it is asked for: its times, its signal, and the rules for runs that meet or are late."""

    user_id: Id  #: the client application that owns it. Its id follows from this and the name
    name: str  #: its name, of which its user has one
    cron: str = ""  #: cron expression of five fields; empty: it goes by its interval
    zone: str = "UTC"  #: IANA name of the time zone that the expression is read in
    interval_seconds: float = 0.0  #: seconds from one run to the next; 0: it goes by its cron expression
    offset_seconds: float = 0.0  #: intervals are counted from so many seconds after the epoch
    #: the workflow that is signalled, found or made. In its subject `{scheduled_at}` stands for the run's time
    workflow: NewWorkflow
    node: NewNode  #: the signal; it has neither `fires_at` nor `parent_link_id`
    overlap: Overlap = Overlap.SKIP  #: what is done with a run that is due while an earlier one has not ended
    catch_up_seconds: float = CATCH_UP_SECONDS  #: a run that is later than so many seconds is missed


OVERLAP_WORDS: dict[str, Overlap] = {word(overlap): overlap for overlap in Overlap}


class RunState(enum.IntEnum):
    """State of a run of a schedule."""

    QUEUED = 0  #: it waits for those before it
    RUNNING = 1  #: it was signalled, and its node is neither complete nor deactivated
    ENDED = 2  #: its node is complete or deactivated, or was refused
    CANCELED = 3  #: the schedule canceled it for a later one
    SKIPPED = 4  #: it was due while an earlier one had not ended
    MISSED = 5  #: nobody was there to start it within the catch-up window


class RunCause(enum.IntEnum):
    """Reason of a run of a schedule."""

    DUE = 0  #: its time came
    TRIGGER = 1  #: somebody asked for one now
    BACKFILL = 2  #: somebody asked for one at each time of a range


class ScheduleRun(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A run of a schedule, or, of skipped and missed ones, several in a row."""

    scheduled_at: Time  #: the time that it is for
    cause: RunCause  #: why there is a run
    state: RunState  #: what has become of it
    at: Time  #: when it came to this state
    started_at: Time | None = None  #: when it was signalled; null: it was not
    workflow_id: Id | None = None  #: the workflow that was signalled; null: none was
    node_id: Id | None = None  #: the signal's node; null: there is none
    count: int = 1  #: how many in a row
    last_at: Time | None = None  #: the time that the last of several is for; null: it is one


class ScheduleView(
    msgspec.Struct, gc=False, frozen=True, kw_only=True, array_like=True, tag_field="kind", tag="schedule"
):
    """A schedule as the outside sees it."""

    id: Id  #: the schedule's id
    plan: NewSchedule  #: what was asked for
    created_at: Time  #: when it was made
    updated_at: Time  #: when it was last changed by somebody
    after: Time  #: its times up to this one have been dealt with
    paused: bool  #: whether nothing is due until it is resumed
    note: str  #: why it was paused or resumed; empty: nobody said
    next_at: Time | None  #: its next time; null: there is none, or it is being worked out
    problem: str  #: why it has no next time; empty: nothing is wrong
    started: Long  #: how many runs were signalled, ever
    skipped: Long  #: how many were left out because an earlier one had not ended
    missed: Long  #: how many nobody started within the catch-up window
    running: tuple[ScheduleRun, ...]  #: the runs that have not ended, oldest first
    queued: tuple[ScheduleRun, ...]  #: the first of the runs that wait
    queued_count: int  #: how many wait
    recent: tuple[ScheduleRun, ...]  #: the newest of the others, oldest first


class Schedules(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="schedules"):
    """A part of a list of schedules."""

    schedules: tuple[ScheduleView, ...]  #: schedules, by id


#: Running runs, at most; a further one is skipped.
RUNNING_MAX = 100
#: Queued runs, at most; a further one is skipped.
QUEUED_MAX = 1_000
#: Newest ended, skipped and missed runs that are stored.
RECENT_MAX = 20

#: Times of one backfill; more may follow in further commands.
BACKFILL_MAX = 1_000

#: A timer is a moment late in any case.
CATCH_UP_SECONDS_MIN = 10.0

INTERVAL_SECONDS_MIN = 1.0

SECONDS_MAX = 10 * 365 * 86_400.0
