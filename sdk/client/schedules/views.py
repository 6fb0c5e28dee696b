"""Schedules and their runs as a caller sees them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta, field

from backbeat.payload.nouns import (
    NOT_IN_JSON,
    ONLY_IN_JSON,
    Count,
    Id,
    JsonObject,
    Source,
    Subject,
    Time,
    Word,
    one_of,
)
from backbeat.payload.values import from_json, to_datetime
from backbeat.schemas.cron import next_times
from backbeat.schemas.messages.schedules import (
    OVERLAP_WORDS,
    QUEUED_MAX,
    RECENT_MAX,
    RUNNING_MAX,
    RunCause,
    RunState,
    ScheduleView,
)
from backbeat.schemas.messages.status import word

#: Next runs in a schedule's JSON.
_NEXT_RUNS = 10


class Run(msgspec.Struct, rename="camel", frozen=True):
    """A run of a schedule."""

    scheduled_at: Time
    cause: Annotated[Word, one_of(map(word, RunCause))]
    state: Annotated[Word, one_of(map(word, RunState))]
    at: Annotated[Time, Meta(description="when it came to this state")]
    started_at: Annotated[Time | None, Meta(description="when its workflow was signalled")]
    workflow_id: Id | None
    node_id: Annotated[Id | None, Meta(description="the signal's; 404 of it: it was refused")]
    count: Annotated[int, Meta(ge=1, description="how many in a row, of skipped and missed ones")]
    last_scheduled_at: Annotated[
        Time | None, Meta(description="the scheduled time of the last of several"), Source("last_at")
    ] = field(name="lastAt")

    @property
    def last_at(self) -> datetime:
        """Time that the last of several in a row is for."""
        return self.scheduled_at if self.last_scheduled_at is None else self.last_scheduled_at

    def __repr__(self) -> str:
        several = "" if self.count == 1 else f" and {self.count - 1} more"
        return f"<Run {self.scheduled_at.isoformat()}{several} {self.state}>"


def _times_in_json(view: ScheduleView) -> list[int]:
    return upcoming(view, _NEXT_RUNS)


class Schedule(msgspec.Struct, rename="camel", frozen=True, kw_only=True, eq=False):
    """A workflow that is signalled at times."""

    view: Annotated[Any, Source(lambda view: view), NOT_IN_JSON]  # ScheduleView, the record that the engine sent
    id: Id
    name: Annotated[str, Source("plan.name")]
    user_id: Annotated[Id, Source("plan.user_id")]
    workflow: Annotated[str, Source("plan.workflow.name")]
    subject_text: Annotated[Subject, Source("plan.workflow.subject")] = field(name="subject")
    decider: Annotated[str, Source("plan.workflow.decider")]
    signal: Annotated[str, Source("plan.node.name")]
    client_id: Annotated[Id, Meta(description="the user that runs it"), Source("plan.node.user_id")]
    client_data_text: Annotated[JsonObject, Meta(description="as it was given"), Source("plan.node.client_data")] = (
        field(name="clientData")
    )
    metadata_text: Annotated[
        JsonObject, Meta(description="as it was given; each run adds a schedule"), Source("plan.node.metadata")
    ] = field(name="metadata")
    retries: Annotated[Count, Source("plan.node.retries")]
    backoff_seconds: Annotated[
        float, Meta(description="seconds until the first retry"), Source("plan.node.retry_interval_seconds")
    ] = field(name="backoff")
    priority: Annotated[int | None, Meta(description="null: that of any node"), Source("plan.node.priority")]
    fairness_key: Annotated[str | None, Source("plan.node.fairness_key")]
    cron: Annotated[str | None, Source(lambda view: view.plan.cron or None)]
    zone: Annotated[str, Source("plan.zone")]
    every_seconds: Annotated[float | None, Source(lambda view: view.plan.interval_seconds or None)] = field(
        name="interval"
    )
    offset_seconds: Annotated[float, Source("plan.offset_seconds")] = field(name="offset")
    overlap: Annotated[Word, one_of(OVERLAP_WORDS), Source("plan.overlap")]
    catch_up_seconds: Annotated[float, Meta(description="seconds"), Source("plan.catch_up_seconds")] = field(
        name="catchUp"
    )
    paused: bool
    note: Annotated[str, Meta(description="why it was paused or resumed")]
    problem: Annotated[str, Meta(description="why it is never due: an engine cannot read it")]
    created_at: Time
    updated_at: Time
    after: Annotated[Time, Meta(description="its times up to this one have been dealt with")]
    next_at: Annotated[Time | None, Meta(description="null: there is none, or it is being worked out")]
    _next_times: Annotated[list[Time], Source(_times_in_json), ONLY_IN_JSON] = field(
        name="nextRuns", default_factory=list
    )
    started: Annotated[int, Meta(ge=0, description="runs that there were, ever")]
    skipped: Count
    missed: Count
    running: Annotated[list[Run], Meta(description=f"oldest first; at most {RUNNING_MAX}")]
    queued: Annotated[list[Run], Meta(description="the first of those that wait")]
    queued_count: Annotated[int, Meta(ge=0, description=f"how many wait; at most {QUEUED_MAX:,}")]
    past: Annotated[list[Run], Meta(description=f"the newest of the others, at most {RECENT_MAX}"), Source("recent")]

    @property
    def subject(self) -> Any:
        """Subject of its workflows; in it, `{scheduled_at}` stands for a run's time."""
        return from_json(bytes(self.subject_text))

    @property
    def client_data(self) -> dict[str, Any]:
        """Client data of the signal."""
        data: dict[str, Any] = from_json(bytes(self.client_data_text))
        return data

    @property
    def metadata(self) -> dict[str, Any]:
        """Notes on the signal; each run adds a `schedule` with name and scheduled_at."""
        data: dict[str, Any] = from_json(bytes(self.metadata_text))
        return data

    @property
    def every(self) -> timedelta | None:
        """Its interval; None: it goes by its cron expression."""
        return None if self.every_seconds is None else timedelta(seconds=self.every_seconds)

    @property
    def offset(self) -> timedelta:
        """Time after the epoch at which its intervals begin."""
        return timedelta(seconds=self.offset_seconds)

    @property
    def backoff(self) -> timedelta:
        """Retry interval of a run."""
        return timedelta(seconds=self.backoff_seconds)

    @property
    def catch_up(self) -> timedelta:
        """Lateness up to which a run is made up for; a later one is missed."""
        return timedelta(seconds=self.catch_up_seconds)

    @property
    def next_run(self) -> datetime | None:
        """Time of the next run; None: there is none, or it is paused."""
        return next(iter(self.next_runs(1)), None)

    def next_runs(self, count: int = 5) -> list[datetime]:
        """Times of the next runs, `count` at most; as this machine's time zones have it."""
        return [to_datetime(at) for at in upcoming(self.view, count)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Schedule {self.name!r} {self.cron or self.every}>"


def upcoming(view: ScheduleView, count: int) -> list[int]:
    """The next times of a schedule, in milliseconds since the epoch: from the one on that its engine has worked out."""
    if view.paused or view.problem:
        return []
    return next_times(view.plan, view.after if view.next_at is None else view.next_at - 1, count)
