"""Jobs: one change for all that match, asked of every partition and added up (docs/how-to/jobs.md)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp.web import Response

from backbeat.errors import Rejected
from backbeat.gateway.api.job_json import shown
from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call, answer
from backbeat.gateway.http.parameters import Parameters, to_id
from backbeat.gateway.http.presentation import id_text
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.jobs import TIME_FILTERS, Job, JobFilter, Jobs, add_up, scope_problem
from backbeat.schemas.messages.replies import Reason

Found = Iterable[Job]


async def start(call: Call) -> Response:
    """POST /jobs: begin one, or the same one again."""
    said = call.parameters
    action = said.text("action")
    if action is None:
        raise errors.invalid("action is missing: what is done with all that match")
    wanted = _filter(said)
    problem = scope_problem(wanted, everything=bool(said.flag("all")))
    if problem:
        raise errors.invalid(problem)
    identity = said.uuid("id") or _new_id(call)
    asked: dict[str, Any] = {
        "action": action,
        "filter": wanted,
        "response": said.json("response"),
        "dry_run": bool(said.flag("dry_run")),
    }

    async def begin(partition: int) -> Found:
        carried: dict[str, Any] = {"id": identity, "user_id": call.user_id, "tid": call.tid, "partition": partition}
        return await _say(call, partition, lambda reply_to: commands.StartJob(reply_to=reply_to, **carried, **asked))

    return answer(shown(await _whole(call, identity, begin)), 201)


async def show(call: Call) -> Response:
    """GET /jobs/:id."""
    identity = to_id(call.segment("id"))
    return answer(shown(await _whole(call, identity, lambda partition: _look(call, partition, identity))))


async def index(call: Call) -> Response:
    """GET /jobs: newest first."""
    by_id: dict[bytes, list[Job]] = {}
    for found in await _all(call, lambda partition: _look(call, partition, None)):
        for job in found:
            by_id.setdefault(job.id, []).append(job)
    whole = [add_up(found, call.engine.partitions) for found in by_id.values()]
    whole.sort(key=lambda job: (job.started_at, job.id), reverse=True)
    return answer([shown(job) for job in whole])


async def stop(call: Call) -> Response:
    """PUT /jobs/:id/stop: go no further."""
    identity = to_id(call.segment("id"))

    async def end(partition: int) -> Found:
        carried = {**call.identity(), "partition": partition, "job_id": identity}
        # What is answered is how far the job is now: nothing is remembered for a repeat.
        carried.pop("body_hash", None)
        try:
            return await _say(call, partition, lambda reply_to: commands.StopJob(reply_to=reply_to, **carried))
        except Rejected as rejected:
            if rejected.reason == Reason.NOT_FOUND:
                return ()  # It was never begun there.
            raise

    return answer(shown(await _whole(call, identity, end)))


# --- asking every partition ------------------------------------------------------------------------------------------


async def _say(call: Call, partition: int, make: Callable[[commands.ReplyTo], commands.AnyCommand]) -> Found:
    route = partition.to_bytes(4, "big")
    answered = await call.engine.command(make, route, route, "job")
    assert isinstance(answered, Jobs)
    return answered.jobs


async def _look(call: Call, partition: int, identity: bytes | None) -> Found:
    parts = await call.engine.query(
        lambda reply_to, deadline: queries.GetJobs(
            reply_to=reply_to,
            deadline=deadline,
            user_id=call.user_id,
            tid=call.tid,
            partition=partition,
            job_id=identity,
        ),
        "jobs",
    )
    return [job for part in parts for job in part.jobs]


async def _all(call: Call, ask: Callable[[int], Awaitable[Found]]) -> list[Found]:
    """Every partition's answer; the first refusal, once all have answered: none is left half asked."""
    asked = [ask(partition) for partition in call.engine.every_partition()]
    found = await asyncio.gather(*asked, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if not isinstance(one, BaseException)]


async def _whole(call: Call, identity: bytes, ask: Callable[[int], Awaitable[Found]]) -> Job:
    what = f"job {id_text(identity)}"
    try:
        found = [job for some in await _all(call, ask) for job in some]
    except Rejected as rejected:
        raise errors.refused(rejected, what, whole=call.wishes.whole) from rejected
    if not found:
        missing = Rejected(Reason.NOT_FOUND, f"There is no {what}", "nothing", "a job")
        raise errors.refused(missing, what, whole=call.wishes.whole)
    return add_up(found, call.engine.partitions)


def _new_id(call: Call) -> bytes:
    """With an Idempotency-Key its repeat is the same job; that is all that a key is needed for here."""
    carried = call.identity()
    found: bytes = carried["id"] if "body_hash" in carried else os.urandom(16)
    return found


# --- what is said ------------------------------------------------------------------------------------------

_IDS = ("workflow_id", "client_id")


def _filter(said: Parameters) -> JobFilter:
    values: dict[str, Any] = {}
    for name in JobFilter.__struct_fields__:
        if name in _IDS:
            values[name] = said.uuid(name)
        elif name in TIME_FILTERS:
            values[name] = said.time(name)
        else:
            values[name] = said.text(name)
    return JobFilter(**values)
