"""Schedules and their runs as a caller sees them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from backbeat.payload.values import from_json, id_text, to_datetime
from backbeat.schemas.cron import next_times
from backbeat.schemas.messages.schedules import ScheduleRun, ScheduleView
from backbeat.schemas.messages.status import word


class Run:
    """Run of a schedule; skipped or missed ones in a row stand together."""

    __slots__ = ("_run",)

    def __init__(self, run: ScheduleRun) -> None:
        self._run = run

    @property
    def scheduled_at(self) -> datetime:
        """Time that it is for; of several in a row, that of the first."""
        return to_datetime(self._run.scheduled_at)

    @property
    def last_at(self) -> datetime:
        """Time that the last of several in a row is for."""
        return to_datetime(self._run.scheduled_at if self._run.last_at is None else self._run.last_at)

    @property
    def count(self) -> int:
        """Number of runs in a row: 1, unless they were skipped or missed."""
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
        """Time of the change to this state."""
        return to_datetime(self._run.at)

    @property
    def started_at(self) -> datetime | None:
        """Time of its signal; None: there was none."""
        return None if self._run.started_at is None else to_datetime(self._run.started_at)

    @property
    def workflow_id(self) -> str | None:
        """Id of the workflow that was signalled."""
        return None if self._run.workflow_id is None else id_text(self._run.workflow_id)

    @property
    def node_id(self) -> str | None:
        """Id of the signal's node. NotFound of it: the signal was refused, and the dead letters say why."""
        return None if self._run.node_id is None else id_text(self._run.node_id)

    def __repr__(self) -> str:
        several = "" if self.count == 1 else f" and {self.count - 1} more"
        return f"<Run {self.scheduled_at.isoformat()}{several} {self.state}>"


class Schedule:
    """Snapshot of a schedule: as it was when it was asked for."""

    __slots__ = ("_view",)

    def __init__(self, view: ScheduleView) -> None:
        self._view = view

    @property
    def view(self) -> ScheduleView:
        """The record that the engine sent."""
        return self._view

    @property
    def id(self) -> str:
        """The schedule's id, which is the parent link of its runs' nodes."""
        return id_text(self._view.id)

    @property
    def name(self) -> str:
        """The schedule's name, of which a client application has one."""
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
        """Time after the epoch at which its intervals begin."""
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
        """Client data of the signal."""
        data: dict[str, Any] = from_json(self._view.plan.node.client_data)
        return data

    @property
    def metadata(self) -> dict[str, Any]:
        """Notes on the signal; each run adds a `schedule` with name and scheduled_at."""
        data: dict[str, Any] = from_json(self._view.plan.node.metadata)
        return data

    @property
    def retries(self) -> int:
        """Number of further attempts of a run that fails."""
        return self._view.plan.node.retries

    @property
    def backoff(self) -> timedelta:
        """Retry interval of a run."""
        return timedelta(seconds=self._view.plan.node.retry_interval_seconds)

    @property
    def priority(self) -> int | None:
        """Priority where a limit holds a run up: 1 goes first. None: that of any node."""
        return self._view.plan.node.priority

    @property
    def fairness_key(self) -> str | None:
        """Key by which its runs take turns where a limit holds them up."""
        return self._view.plan.node.fairness_key

    @property
    def overlap(self) -> str:
        """Fate of a run that is due while an earlier one has not ended: skip, queue, cancel or allow."""
        return word(self._view.plan.overlap)

    @property
    def catch_up(self) -> timedelta:
        """Lateness up to which a run is made up for; a later one is missed."""
        return timedelta(seconds=self._view.plan.catch_up_seconds)

    @property
    def paused(self) -> bool:
        """True: nothing is due until it is resumed."""
        return self._view.paused

    @property
    def note(self) -> str:
        """Reason that was given when it was paused or resumed."""
        return self._view.note

    @property
    def problem(self) -> str:
        """Reason why an engine cannot work out its next time. Empty: there is none."""
        return self._view.problem

    @property
    def created_at(self) -> datetime:
        """Time of its creation."""
        return to_datetime(self._view.created_at)

    @property
    def updated_at(self) -> datetime:
        """Time of its last change by somebody."""
        return to_datetime(self._view.updated_at)

    @property
    def started(self) -> int:
        """Number of runs so far."""
        return self._view.started

    @property
    def skipped(self) -> int:
        """Number of runs left out because an earlier one had not ended."""
        return self._view.skipped

    @property
    def missed(self) -> int:
        """Number of runs that were too late."""
        return self._view.missed

    @property
    def running(self) -> list[Run]:
        """The runs that have not ended, oldest first."""
        return [Run(run) for run in self._view.running]

    @property
    def queued(self) -> list[Run]:
        """The runs that wait for those, the next one first; `queued_count` of them, of which 20 are shown."""
        return [Run(run) for run in self._view.queued]

    @property
    def queued_count(self) -> int:
        """Number of runs that wait."""
        return self._view.queued_count

    @property
    def past(self) -> list[Run]:
        """The newest of the other runs, oldest first."""
        return [Run(run) for run in self._view.recent]

    @property
    def next_run(self) -> datetime | None:
        """Time of the next run; None: there is none, or it is paused."""
        return next(iter(self.next_runs(1)), None)

    def next_runs(self, count: int = 5) -> list[datetime]:
        """Times of the next runs, `count` at most; as this machine's time zones have it."""
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
