"""Calls for jobs: one change for all that match, sent to every partition and added up (docs/how-to/jobs.md)."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp.web import Response

from backbeat.client.jobs import views
from backbeat.errors import Rejected
from backbeat.gateway.api.redaction import redacted
from backbeat.gateway.http import errors
from backbeat.gateway.http.access.person import check_right, read_reason
from backbeat.gateway.http.call import Call, answer
from backbeat.gateway.http.parameters import Parameters, to_id
from backbeat.gateway.people.visitor import Right
from backbeat.payload.nouns import json_writer
from backbeat.payload.values import id_text
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.jobs import (
    NOTE_CHARACTERS_MAX,
    TIME_FILTERS,
    Job,
    JobFilter,
    Jobs,
    add_up,
    scope_problem,
)
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.values import ReplyTo
from backbeat.transport.base import every_answer

PartitionJobs = Iterable[Job]

_job_json = json_writer(views.Job)


async def start(call: Call) -> Response:
    """POST /jobs: start a job, or the same one again."""
    parameters = call.parameters
    action = parameters.text("action")
    if action is None:
        raise errors.invalid("action is missing: what is done with all that match")
    filters = _filter(parameters)
    if call.person is not None and filters.metadata is not None:
        # Whoever may ask what it contains reads it letter by letter.
        check_right(call.person, Right.PAYLOADS)
    problem = scope_problem(filters, everything=bool(parameters.flag("all")))
    if problem:
        raise errors.invalid(problem)
    identity = parameters.uuid("id") or _new_id(call)
    fields: dict[str, Any] = {
        "action": action,
        "filter": filters,
        "response": parameters.json("response"),
        "dry_run": bool(parameters.flag("dry_run")),
        **_why(call),
    }

    async def begin(partition: int) -> PartitionJobs:
        header: dict[str, Any] = {"id": identity, "user_id": call.asker_id, "tid": call.tid, "partition": partition}
        return await _command(
            call, partition, lambda reply_to: commands.StartJob(reply_to=reply_to, **header, **fields)
        )

    return answer(_job_json(await _whole(call, identity, begin)), 201)


def _why(call: Call) -> dict[str, str]:
    """Note and actor of a job: why it is started, and by which person. 400: the note is too long."""
    note = call.parameters.text("note") or ""
    if call.person is not None:
        note = note or read_reason(call.headers)
    if len(note) > NOTE_CHARACTERS_MAX:
        raise errors.invalid(f"note has {len(note)} characters; {NOTE_CHARACTERS_MAX} is the most")
    return {"note": note, "actor": "" if call.person is None else call.person.name}


async def show(call: Call) -> Response:
    """GET /jobs/:id."""
    identity = to_id(call.segment("id"))
    return answer(_job_json(await _whole(call, identity, lambda partition: _query(call, partition, identity))))


async def index(call: Call) -> Response:
    """GET /jobs: newest first."""
    by_id: dict[bytes, list[Job]] = {}
    for jobs in await _all(call, lambda partition: _query(call, partition, None)):
        for job in jobs:
            by_id.setdefault(job.id, []).append(job)
    added_up = [redacted(call, add_up(parts, call.engine.partitions)) for parts in by_id.values()]
    added_up.sort(key=lambda job: (job.started_at, job.id), reverse=True)
    return answer([_job_json(job) for job in added_up])


async def stop(call: Call) -> Response:
    """PUT /jobs/:id/stop: stop a job."""
    identity = to_id(call.segment("id"))

    async def end(partition: int) -> PartitionJobs:
        header = {**call.identity(), "partition": partition, "job_id": identity}
        # The answer is the job's present progress, so no reply is stored for a repeat.
        header.pop("body_hash", None)
        try:
            return await _command(call, partition, lambda reply_to: commands.StopJob(reply_to=reply_to, **header))
        except Rejected as rejected:
            if rejected.reason == Reason.NOT_FOUND:
                return ()  # Never started in this partition.
            raise

    return answer(_job_json(await _whole(call, identity, end)))


# --- asking every partition ------------------------------------------------------------------------------------------


async def _command(call: Call, partition: int, make: Callable[[ReplyTo], commands.AnyCommand]) -> PartitionJobs:
    route = partition.to_bytes(4, "big")
    reply = await call.engine.command(make, route, route, "job")
    assert isinstance(reply, Jobs)
    return reply.jobs


async def _query(call: Call, partition: int, identity: bytes | None) -> PartitionJobs:
    parts = await call.engine.query(
        lambda reply_to, deadline: queries.GetJobs(
            reply_to=reply_to,
            deadline=deadline,
            user_id=call.asker_id,
            tid=call.tid,
            partition=partition,
            job_id=identity,
        ),
        "jobs",
    )
    return [job for part in parts for job in part.jobs]


async def _all(call: Call, request: Callable[[int], Awaitable[PartitionJobs]]) -> list[PartitionJobs]:
    """Replies of every partition; the first error is raised once all have answered."""
    return await every_answer(request(partition) for partition in call.engine.every_partition())


async def _whole(call: Call, identity: bytes, request: Callable[[int], Awaitable[PartitionJobs]]) -> Job:
    target = f"job {id_text(identity)}"
    try:
        parts = [job for jobs in await _all(call, request) for job in jobs]
    except Rejected as rejected:
        raise errors.refused(rejected, target, whole=call.preferences.whole) from rejected
    if not parts:
        missing = Rejected(Reason.NOT_FOUND, f"There is no {target}", "nothing", "a job")
        raise errors.refused(missing, target, whole=call.preferences.whole)
    return redacted(call, add_up(parts, call.engine.partitions))


def _new_id(call: Call) -> bytes:
    """Id of a new job: random, or from the Idempotency-Key, so that a repeat is the same job."""
    header = call.identity()
    job_id: bytes = header["id"] if "body_hash" in header else os.urandom(16)
    return job_id


# --- parameters ------------------------------------------------------------------------------------------------------

_IDS = ("workflow_id", "client_id")


def _filter(parameters: Parameters) -> JobFilter:
    values: dict[str, Any] = {}
    for name in JobFilter.__struct_fields__:
        if name in _IDS:
            values[name] = parameters.uuid(name)
        elif name in TIME_FILTERS:
            values[name] = parameters.time(name)
        else:
            values[name] = parameters.text(name)
    return JobFilter(**values)
