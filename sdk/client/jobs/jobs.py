"""Jobs: one change for all nodes or workflows that match, done by the engine. `client.jobs` (docs/how-to/jobs.md)."""

from __future__ import annotations

import os
from collections.abc import Coroutine, Iterable
from datetime import datetime
from typing import Any, TypedDict, Unpack

from backbeat.client.jobs.views import Job
from backbeat.client.session import Session, as_id
from backbeat.client.words import check_options
from backbeat.errors import InvalidParameters, NotFound
from backbeat.payload.nouns import noun_of
from backbeat.payload.values import Id, aware, id_text, to_id, to_json
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.jobs import TIME_FILTERS, JobFilter, add_up, scope_problem
from backbeat.schemas.messages.jobs import Job as JobRecord
from backbeat.schemas.messages.jobs import Jobs as JobsReply
from backbeat.schemas.messages.replies import Reason
from backbeat.transport.base import every_answer


class JobOptions(TypedDict, total=False):
    """Filters of a job, all of which must hold, and how it is done."""

    #: the node's whole name; for nodes only, as metadata, error and the statuses are
    name: str | None
    #: the workflow's whole name
    workflow_name: str | None
    workflow_id: Id | None
    #: contained in the compact JSON text of the workflow's subject, of the node's metadata
    subject: str | None
    metadata: str | None
    #: contained in the message of the node's last error
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
    #: without a filter: every node, or workflow, is meant; `client` alone is no filter
    all: bool
    #: the response that resolved nodes and those shut down keep, as of `resolve` and `shutdown`
    response: Any
    #: only count, and show some that match
    dry_run: bool
    #: why: kept with the job, 1,000 characters at most
    note: str
    #: the job's id: started again under it, it is the same job
    job_id: Id | bytes | None
    #: over Kafka: nodes that any client application runs, workflows that any owns; with `client`, of that one
    all_clients: bool
    client: str | None


_WORDS = tuple(JobOptions.__annotations__)


class Jobs:
    """The jobs of one client application. Each partition does its part; the parts are added up here.

    >>> import asyncio
    >>> from backbeat.testing import Backbeat
    >>> async def count_exhausted() -> None:
    ...     jobs = Backbeat().client().jobs
    ...     job = await jobs.start("retry", name="Charge card", dry_run=True)
    ...     print(job.action, job.matched, (await jobs.get(job.id)).state)
    >>> asyncio.run(count_exhausted())
    retry 0 done
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    async def start(self, action: str, **options: Unpack[JobOptions]) -> Job:
        """Make one change for all nodes, or workflows, that match: in the engine, each once, whatever is killed.

        `action` is `retry`, `resolve`, `shutdown` or `cancel`, for nodes that this client application runs; `pause` or
        `resume`, for its workflows. What the options mean: `JobOptions`; a job without a filter asks for `all=True`. It
        is begun when this returns; `get` says how far it is. What was made after it began is left alone. A `Timeout`
        names its id: start it again with that.
        """
        check_options("jobs.start", options, _WORDS)
        await self._session.ready()
        filters: dict[str, Any] = {**options}
        response, job_id, client = (filters.pop(name, None) for name in ("response", "job_id", "client"))
        note = filters.pop("note", "")
        dry_run, everything, all_clients = (filters.pop(name, False) for name in ("dry_run", "all", "all_clients"))
        id_bytes = os.urandom(16) if job_id is None else to_id(job_id)
        fields = {**self._session.command_fields(), **_asker(all_clients=all_clients)}
        fields |= {"id": id_bytes, "action": action, "dry_run": dry_run, "note": note}
        fields["response"] = None if response is None else to_json("response", response)
        job_filter = JobFilter(
            **{name: _filter_value(name, value) for name, value in filters.items()},
            client_id=None if client is None else await self._session.find_user(client),
        )
        problem = scope_problem(job_filter, everything=everything)
        if problem:
            raise InvalidParameters(Reason.INVALID_PARAMETERS, problem, "no filter", "a filter, or all=True")
        return await self._added_up(
            self._command(commands.StartJob(**fields, partition=partition, filter=job_filter), id_bytes)
            for partition in self._partitions()
        )

    async def get(self, job_id: Id | bytes, *, all_clients: bool = False) -> Job:
        """A job as it is now; NotFound where there is none, or no more. `all_clients`: another's, too."""
        await self._session.ready()
        id_bytes, text = as_id(job_id)
        asker = _asker(all_clients=all_clients)
        return await self._added_up(
            (self._jobs_at(partition, id_bytes, asker) for partition in self._partitions()), text
        )

    async def list(self, *, all_clients: bool = False) -> list[Job]:
        """The jobs of this client application, newest first, those that ended within the last days too."""
        await self._session.ready()
        asker = _asker(all_clients=all_clients)
        parts: dict[bytes, list[JobRecord]] = {}
        for records in await every_answer(self._jobs_at(partition, None, asker) for partition in self._partitions()):
            for record in records:
                parts.setdefault(record.id, []).append(record)
        jobs = (noun_of(Job, add_up(records, self._session.transport.partitions)) for records in parts.values())
        return sorted(jobs, key=lambda job: (job.started_at, job.id), reverse=True)

    async def stop(self, job_id: Id | bytes, *, all_clients: bool = False) -> Job:
        """Have a job go no further; what it has done stays."""
        await self._session.ready()
        id_bytes, text = as_id(job_id)
        asker = _asker(all_clients=all_clients)

        async def stop_at(partition: int) -> tuple[JobRecord, ...]:
            fields = {**self._session.command_fields(), **asker}
            try:
                return await self._command(commands.StopJob(**fields, partition=partition, job_id=id_bytes), id_bytes)
            except NotFound:
                return ()  # It was never begun there.

        return await self._added_up((stop_at(partition) for partition in self._partitions()), text)

    def _partitions(self) -> range:
        self._session.check_connected()
        return range(self._session.transport.partitions)

    async def _command(self, command: commands.StartJob | commands.StopJob, job_id: bytes) -> tuple[JobRecord, ...]:
        label = f"job {id_text(job_id)}"
        reply = await self._session.transport.command(command, self._session.timeout, label, key=label)
        assert isinstance(reply, JobsReply)
        return reply.jobs

    async def _jobs_at(self, partition: int, job_id: bytes | None, asker: dict[str, Any]) -> tuple[JobRecord, ...]:
        label = "jobs" if job_id is None else f"job {id_text(job_id)}"
        fields = {**self._session.query_fields(), **asker, "partition": partition, "job_id": job_id}
        parts = await self._session.query(queries.GetJobs(**fields), label)
        return tuple(record for part in parts for record in part.jobs)

    async def _added_up(self, parts: Iterable[Coroutine[Any, Any, tuple[JobRecord, ...]]], text: str = "") -> Job:
        records = [record for part in await every_answer(parts) for record in part]
        if not records:
            raise NotFound(Reason.NOT_FOUND, f"There is no job {text}", "nothing", "a job")
        return noun_of(Job, add_up(records, self._session.transport.partitions))


def _asker(*, all_clients: bool) -> dict[str, Any]:
    """Fields of the caller, where it is not the client application but the system, to which all jobs belong."""
    return {"user_id": None} if all_clients else {}


def _filter_value(name: str, value: Any) -> Any:
    """A filter's value as the engine has it."""
    if value is None:
        return None
    if name == "workflow_id":
        return to_id(value)
    if name in TIME_FILTERS:
        return int(aware(name, value).timestamp() * 1000)
    return value
