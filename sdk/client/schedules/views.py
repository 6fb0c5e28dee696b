"""Schedules and their runs as a caller sees them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from backbeat.payload.values import from_json, id_text, to_datetime
from backbeat.schemas.cron import next_times
from backbeat.schemas.messages.schedules import ScheduleRun, ScheduleView
from backbeat.schemas.messages.status import word


class Run:
    """One run of a schedule; of skipped and missed ones, several in a row."""

    __slots__ = ("_run",)

    def __init__(self, run: ScheduleRun) -> None:
        self._run = run

    @property
    def scheduled_at(self) -> datetime:
        """The time that it is for; of several in a row, that of the first."""
        return to_datetime(self._run.scheduled_at)

    @property
    def last_at(self) -> datetime:
        """The same of the last of several in a row."""
        return to_datetime(self._run.scheduled_at if self._run.last_at is None else self._run.last_at)

    @property
    def count(self) -> int:
        """How many there are in a row: 1 for each that was not skipped or missed."""
        return self._run.count

    @property
    def state(self) -> str:
        """`queued`, `running`, `ended`, `canceled` (for a later one), `skipped` or `missed`."""
        return word(self._run.state)

    @property
    def cause(self) -> str:
        """`due`, `trigger` or `backfill`."""
        return word(self._run.cause)

    @property
    def at(self) -> datetime:
        """When it came to this state."""
        return to_datetime(self._run.at)

    @property
    def started_at(self) -> datetime | None:
        """When its workflow was signalled; None: it was not."""
        return None if self._run.started_at is None else to_datetime(self._run.started_at)

    @property
    def workflow_id(self) -> str | None:
        """The workflow that was signalled."""
        return None if self._run.workflow_id is None else id_text(self._run.workflow_id)

    @property
    def node_id(self) -> str | None:
        """The signal's node. NotFound of it means that the signal was refused: the dead letters say why."""
        return None if self._run.node_id is None else id_text(self._run.node_id)

    def __repr__(self) -> str:
        several = "" if self.count == 1 else f" and {self.count - 1} more"
        return f"<Run {self.scheduled_at.isoformat()}{several} {self.state}>"


class Schedule:
    """A schedule as it was when it was asked for."""

    __slots__ = ("_view",)

    def __init__(self, view: ScheduleView) -> None:
        self._view = view

    @property
    def view(self) -> ScheduleView:
        """The same as the engine has it."""
        return self._view

    @property
    def id(self) -> str:
        """The schedule's id, which is the parent link of its runs' nodes."""
        return id_text(self._view.id)

    @property
    def name(self) -> str:
        """What it is known by."""
        return self._view.plan.name

    @property
    def cron(self) -> str | None:
        """Its cron expression; None: it goes by its interval."""
        return self._view.plan.cron or None

    @property
    def zone(self) -> str:
        """The time zone that the expression is read in."""
        return self._view.plan.zone

    @property
    def every(self) -> timedelta | None:
        """Its interval; None: it goes by its cron expression."""
        return timedelta(seconds=self._view.plan.interval_seconds) if self._view.plan.interval_seconds else None

    @property
    def offset(self) -> timedelta:
        """How long after the epoch its intervals begin."""
        return timedelta(seconds=self._view.plan.offset_seconds)

    @property
    def workflow(self) -> str:
        """The name of the workflows that it signals."""
        return self._view.plan.workflow.name

    @property
    def subject(self) -> Any:
        """Their subject; in it, `{scheduled_at}` stands for a run's time."""
        return from_json(self._view.plan.workflow.subject)

    @property
    def decider(self) -> str:
        """Their decider, where they are new."""
        return self._view.plan.workflow.decider

    @property
    def signal(self) -> str:
        """The name of the signal."""
        return self._view.plan.node.name

    @property
    def client_data(self) -> dict[str, Any]:
        """What the signal is given."""
        data: dict[str, Any] = from_json(self._view.plan.node.client_data)
        return data

    @property
    def metadata(self) -> dict[str, Any]:
        """What is noted on it; each run adds a `schedule` with name and scheduled_at."""
        data: dict[str, Any] = from_json(self._view.plan.node.metadata)
        return data

    @property
    def retries(self) -> int:
        """How many times a run is tried again when it fails."""
        return self._view.plan.node.retries

    @property
    def backoff(self) -> timedelta:
        """Retry interval of a run."""
        return timedelta(seconds=self._view.plan.node.retry_interval_seconds)

    @property
    def priority(self) -> int | None:
        """Where a limit holds a run up: 1 goes first; None: that of any node."""
        return self._view.plan.node.priority

    @property
    def fairness_key(self) -> str | None:
        """By what its runs take turns where a limit holds them up."""
        return self._view.plan.node.fairness_key

    @property
    def overlap(self) -> str:
        """What is done with a run that is due while an earlier one has not ended: skip, queue, cancel or allow."""
        return word(self._view.plan.overlap)

    @property
    def catch_up(self) -> timedelta:
        """A run that is later than this is missed."""
        return timedelta(seconds=self._view.plan.catch_up_seconds)

    @property
    def paused(self) -> bool:
        """Whether nothing is due until it is resumed."""
        return self._view.paused

    @property
    def note(self) -> str:
        """Why it was paused or resumed."""
        return self._view.note

    @property
    def problem(self) -> str:
        """Why it has no next time: an engine cannot read it. Empty: nothing is wrong."""
        return self._view.problem

    @property
    def created_at(self) -> datetime:
        """When it was made."""
        return to_datetime(self._view.created_at)

    @property
    def updated_at(self) -> datetime:
        """When it was last changed by somebody."""
        return to_datetime(self._view.updated_at)

    @property
    def started(self) -> int:
        """How many runs there were, ever."""
        return self._view.started

    @property
    def skipped(self) -> int:
        """How many were left out because an earlier one had not ended."""
        return self._view.skipped

    @property
    def missed(self) -> int:
        """How many were too late."""
        return self._view.missed

    @property
    def running(self) -> list[Run]:
        """The runs that have not ended, oldest first."""
        return [Run(one) for one in self._view.running]

    @property
    def queued(self) -> list[Run]:
        """The runs that wait for those, the next one first; `queued_count` of them, of which 20 are shown."""
        return [Run(one) for one in self._view.queued]

    @property
    def queued_count(self) -> int:
        """How many runs wait."""
        return self._view.queued_count

    @property
    def past(self) -> list[Run]:
        """The newest of the other runs, oldest first."""
        return [Run(one) for one in self._view.recent]

    @property
    def next_run(self) -> datetime | None:
        """When it is due next; None: it never is, or is paused."""
        return next(iter(self.next_runs(1)), None)

    def next_runs(self, count: int = 5) -> list[datetime]:
        """When it is due next, `count` times at most; as this machine's time zones have it."""
        return [to_datetime(at) for at in upcoming(self._view, count)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self._view.id == other._view.id

    def __hash__(self) -> int:
        return hash(self._view.id)

    def __repr__(self) -> str:
        return f"<Schedule {self.name!r} {self.cron or self.every}>"


def upcoming(view: ScheduleView, count: int) -> list[int]:
    """The next times of a schedule, in milliseconds since the epoch: from the one on that its engine has worked out."""
    if view.paused or view.problem:
        return []
    return next_times(view.plan, view.after if view.next_at is None else view.next_at - 1, count)
