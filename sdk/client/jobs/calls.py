"""Jobs: one change for all nodes or workflows that match, done by the engine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterable
from datetime import datetime
from typing import Any, TypedDict, Unpack

from backbeat.client.jobs.views import Job
from backbeat.client.session import Session, as_id
from backbeat.client.words import check_options
from backbeat.errors import InvalidParameters, NotFound
from backbeat.payload.values import Id, aware, id_text, to_id, to_json
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.jobs import TIME_FILTERS, JobFilter, Jobs, add_up, scope_problem
from backbeat.schemas.messages.jobs import Job as JobRecord
from backbeat.schemas.messages.replies import Reason


class JobOptions(TypedDict, total=False):
    """What a job is about, and how. All filters must hold; those that are not given hold for every node."""

    #: the node's whole name; for nodes only, as metadata, error and the statuses are
    name: str | None
    #: the workflow's whole name
    workflow_name: str | None
    workflow_id: Id | None
    #: contained in the compact JSON text of the workflow's subject, of the node's metadata
    subject: str | None
    metadata: str | None
    #: contained in what the node's last error says
    error: str | None
    #: either status has it now. Without: `retries_exhausted`; `cancel` needs one
    current_status: str | None
    #: a status change to it, or within these times, or both
    past_status: str | None
    status_start: datetime | None
    status_end: datetime | None
    #: when the node, or the workflow, was made
    created_start: datetime | None
    created_end: datetime | None
    #: without a filter: that every node, or workflow, is meant; `client` alone is no filter
    all: bool
    #: what nodes that are resolved or shut down keep, as `resolve` and `shutdown` have it
    response: Any
    #: only count, and show some that match
    dry_run: bool
    #: by which the job is known: started again under it, it is the same job
    job_id: Id | bytes | None
    #: over Kafka: what all client applications run, or own, and of these what `client` does
    all_clients: bool
    client: str | None


_WORDS = tuple(JobOptions.__annotations__)


class JobCalls(Session):
    """The calls about jobs. A job is every partition's own affair: what they say is added up."""

    async def start_job(self, action: str, **options: Unpack[JobOptions]) -> Job:
        """Make one change for all nodes, or workflows, that match: in the engine, each once, whatever is killed.

        `action` is `retry`, `resolve`, `shutdown` or `cancel`, for nodes that this client application runs; `pause` or
        `resume`, for its workflows. What the options mean: `JobOptions`; a job without a filter asks for `all=True`. It
        is begun when this returns; `job` says how far it is. What was made after it began is left alone. A `Timeout`
        names its id: start it again with that.
        """
        check_options("start_job", options, _WORDS)
        said: dict[str, Any] = {**options}
        response, job_id, client = (said.pop(name, None) for name in ("response", "job_id", "client"))
        identity = os.urandom(16) if job_id is None else to_id(job_id)
        carried = {**self._common(), "id": identity, "action": action, "dry_run": said.pop("dry_run", False)}
        carried |= _whose(all_clients=said.pop("all_clients", False))
        carried["response"] = None if response is None else to_json("response", response)
        everything = said.pop("all", False)
        filters = {name: _told(name, value) for name, value in said.items()}
        wanted = JobFilter(**filters, client_id=None if client is None else await self._find_user(client))
        problem = scope_problem(wanted, everything=everything)
        if problem:
            raise InvalidParameters(Reason.INVALID_PARAMETERS, problem, "no filter", "a filter, or all=True")
        return await self._whole(
            self._say(commands.StartJob(**carried, partition=partition, filter=wanted), identity)
            for partition in self._partitions()
        )

    async def job(self, job_id: Id | bytes, *, all_clients: bool = False) -> Job:
        """How far a job is; NotFound where there is none, or no more. `all_clients`: another's, too."""
        identity, text = as_id(job_id)
        whose = _whose(all_clients=all_clients)
        return await self._whole((self._look(partition, identity, whose) for partition in self._partitions()), text)

    async def jobs(self, *, all_clients: bool = False) -> list[Job]:
        """The jobs of this client application, newest first, those that ended within the last days too."""
        found: dict[bytes, list[JobRecord]] = {}
        whose = _whose(all_clients=all_clients)
        for some in await _all(self._look(partition, None, whose) for partition in self._partitions()):
            for job in some:
                found.setdefault(job.id, []).append(job)
        whole = [self._added_up(some) for some in found.values()]
        return sorted(whole, key=lambda job: (job.started_at, job.id), reverse=True)

    async def stop_job(self, job_id: Id | bytes, *, all_clients: bool = False) -> Job:
        """Have a job go no further; what it has done stays."""
        identity, text = as_id(job_id)
        whose = _whose(all_clients=all_clients)

        async def stop(partition: int) -> tuple[JobRecord, ...]:
            command = commands.StopJob(**{**self._common(), **whose}, partition=partition, job_id=identity)
            try:
                return await self._say(command, identity)
            except NotFound:
                return ()  # It was never begun there.

        return await self._whole((stop(partition) for partition in self._partitions()), text)

    def _partitions(self) -> range:
        self._connected()
        return range(self._transport.partitions)

    async def _say(self, command: commands.StartJob | commands.StopJob, identity: bytes) -> tuple[JobRecord, ...]:
        what = f"job {id_text(identity)}"
        answered = await self._transport.command(command, self.timeout, what, key=what)
        assert isinstance(answered, Jobs)
        return answered.jobs

    async def _look(self, partition: int, identity: bytes | None, whose: dict[str, Any]) -> tuple[JobRecord, ...]:
        what = "jobs" if identity is None else f"job {id_text(identity)}"
        asked = {**self._asked(), **whose, "partition": partition, "job_id": identity}
        parts = await self._ask(queries.GetJobs(**asked), what)
        return tuple(job for part in parts for job in part.jobs)

    async def _whole(self, asked: Iterable[Coroutine[Any, Any, tuple[JobRecord, ...]]], text: str = "") -> Job:
        found = [job for some in await _all(asked) for job in some]
        if not found:
            raise NotFound(Reason.NOT_FOUND, f"There is no job {text}", "nothing", "a job")
        return self._added_up(found)

    def _added_up(self, found: list[JobRecord]) -> Job:
        return Job(add_up(found, self._transport.partitions))


async def _all(asked: Iterable[Coroutine[Any, Any, tuple[JobRecord, ...]]]) -> list[tuple[JobRecord, ...]]:
    """Every partition's answer; the first error, once all have answered or failed: none is left half asked."""
    found = await asyncio.gather(*asked, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if not isinstance(one, BaseException)]


def _whose(*, all_clients: bool) -> dict[str, Any]:
    """Who asks, where it is not the client application: the system, to which everybody's belongs."""
    return {"user_id": None} if all_clients else {}


def _told(name: str, value: Any) -> Any:
    """A filter as the engine has it."""
    if value is None:
        return None
    if name == "workflow_id":
        return to_id(value)
    if name in TIME_FILTERS:
        return int(aware(name, value).timestamp() * 1000)
    return value
