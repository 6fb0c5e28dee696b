"""Jobs as callers have them: ids as text, times as datetimes, all partitions added up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backbeat.payload.values import from_json, id_text, to_datetime
from backbeat.schemas.messages import jobs


@dataclass(frozen=True, slots=True)
class JobMatch:
    """Node or workflow that a job's filter matches."""

    id: str
    name: str
    workflow_name: str


@dataclass(frozen=True, slots=True)
class JobRefusal:
    """Node or workflow that a job could not change, and why: the reason of a `Rejected`, or `defect`."""

    id: str
    reason: str
    message: str


class Job:
    """Snapshot of a job: as it was when it was asked for."""

    __slots__ = ("_job",)

    def __init__(self, job: jobs.Job) -> None:
        self._job = job

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.action}: {self.state}, {self.done} done, {self.refused} refused>"

    @property
    def id(self) -> str:
        """The job's id."""
        return id_text(self._job.id)

    @property
    def action(self) -> str:
        """`retry`, `resolve`, `shutdown`, `cancel`, `pause` or `resume`."""
        return self._job.action

    @property
    def filters(self) -> dict[str, Any]:
        """Filters that `jobs.start` was given, and the status that its action means."""
        filters = {name: getattr(self._job.filter, name) for name in jobs.JobFilter.__struct_fields__}
        return {name: _filter_value(name, value) for name, value in filters.items() if value is not None}

    @property
    def response(self) -> Any:
        """Response that resolved nodes and those shut down keep; None: none."""
        return None if self._job.response is None else from_json(self._job.response)

    @property
    def dry_run(self) -> bool:
        """True: it only counts."""
        return self._job.dry_run

    @property
    def state(self) -> str:
        """`running`, `stopped` or `done`; `partial`: begun in some partitions only, start it again with its id."""
        return self._job.state.value

    @property
    def ended(self) -> bool:
        """True: it is done, or was stopped."""
        return self._job.state in (jobs.JobState.DONE, jobs.JobState.STOPPED)

    @property
    def started_at(self) -> datetime:
        """Time of its start. Nodes and workflows made later are left alone."""
        return to_datetime(self._job.started_at)

    @property
    def ended_at(self) -> datetime | None:
        """Time of its end in the last partition."""
        return None if self._job.ended_at is None else to_datetime(self._job.ended_at)

    @property
    def examined(self) -> int:
        """Number of nodes, or workflows, looked at, other client applications' too."""
        return self._job.examined

    @property
    def matched(self) -> int:
        """Number of those that matched."""
        return self._job.matched

    @property
    def done(self) -> int:
        """Number of those that were changed."""
        return self._job.done

    @property
    def refused(self) -> int:
        """Number of those that could not be changed."""
        return self._job.refused

    @property
    def matches(self) -> list[JobMatch]:
        """Some that matched, at most 20."""
        return [JobMatch(id_text(match.id), match.name, match.workflow_name) for match in self._job.matches]

    @property
    def refusals(self) -> list[JobRefusal]:
        """Some that were refused, at most 20."""
        return [JobRefusal(id_text(item.id), item.reason, item.message) for item in self._job.refusals]


def _filter_value(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return id_text(value)
    return to_datetime(value) if name in jobs.TIME_FILTERS else value
