"""Jobs as a caller sees them: ids as text, times as datetimes, all partitions added up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backbeat.payload.values import from_json, id_text, to_datetime
from backbeat.schemas.messages import jobs


@dataclass(frozen=True, slots=True)
class JobMatch:
    """A node or workflow that a job is about."""

    id: str
    name: str
    workflow_name: str


@dataclass(frozen=True, slots=True)
class JobRefusal:
    """A node or workflow that a job could not change, and why: the reason of a `Rejected`, or `defect`."""

    id: str
    reason: str
    message: str


class Job:
    """One change for all that match, as it was when it was asked for."""

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
        """What it is about: what `start_job` was given, and the status that its action means."""
        found = {name: getattr(self._job.filter, name) for name in jobs.JobFilter.__struct_fields__}
        return {name: _shown(name, value) for name, value in found.items() if value is not None}

    @property
    def response(self) -> Any:
        """What resolved nodes and those shut down keep; None: nothing."""
        return None if self._job.response is None else from_json(self._job.response)

    @property
    def dry_run(self) -> bool:
        """Whether it only counts."""
        return self._job.dry_run

    @property
    def state(self) -> str:
        """`running`, `stopped` or `done`; `partial`: begun in some partitions only, start it again with its id."""
        return self._job.state.value

    @property
    def ended(self) -> bool:
        """Whether it is done, or was stopped."""
        return self._job.state in (jobs.JobState.DONE, jobs.JobState.STOPPED)

    @property
    def started_at(self) -> datetime:
        """When it began. What was made later is left alone."""
        return to_datetime(self._job.started_at)

    @property
    def ended_at(self) -> datetime | None:
        """When it had ended everywhere."""
        return None if self._job.ended_at is None else to_datetime(self._job.ended_at)

    @property
    def examined(self) -> int:
        """Nodes, or workflows, that were looked at, other client applications' too."""
        return self._job.examined

    @property
    def matched(self) -> int:
        """Of those, the ones that matched."""
        return self._job.matched

    @property
    def done(self) -> int:
        """Of those, the ones that were changed."""
        return self._job.done

    @property
    def refused(self) -> int:
        """And those that could not be."""
        return self._job.refused

    @property
    def matches(self) -> list[JobMatch]:
        """Some that matched, at most 20."""
        return [JobMatch(id_text(one.id), one.name, one.workflow_name) for one in self._job.matches]

    @property
    def refusals(self) -> list[JobRefusal]:
        """Some that were refused, at most 20."""
        return [JobRefusal(id_text(one.id), one.reason, one.message) for one in self._job.refusals]


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return id_text(value)
    return to_datetime(value) if name in jobs.TIME_FILTERS else value
