"""Jobs: one change for all nodes that match. First they are counted, then somebody says why, then it is done."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
from aiohttp.web import Response

from backbeat.errors import Rejected
from backbeat.gateway.console import responses
from backbeat.gateway.console.deeds import (
    body_hash,
    carry_out,
    command_id,
    form_fields,
    new_entry,
    reason_problem,
)
from backbeat.gateway.console.page_error import PageError, not_found
from backbeat.gateway.console.pages.job_filters import fields_of, filter_of_form, in_words
from backbeat.gateway.console.pages.stuck import cause_by_id
from backbeat.gateway.console.show.statuses import STATUS_CHOICES
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.http.errors import Refusal
from backbeat.gateway.http.parameters import find_id
from backbeat.gateway.people.audit import DONE, Entry
from backbeat.payload.values import id_text
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.jobs import Job, JobState, add_up
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.values import ReplyTo
from backbeat.transport.base import every_answer

_ROWS = 50
#: Single retries before all of them.
FIRST = 10
#: Time after which a page of a job that is under way loads itself anew, where no script keeps it live.
_RELOAD_SECONDS = 2
#: Shorter jobs are over before their pace says anything.
_PACE_SECONDS_MIN = 1.0
#: What is done, and whether nothing brings back what it ends.
NODE_JOBS = {
    "retry": ("Retry", False),
    "resolve": ("Resolve", True),
    "shutdown": ("Shut down", True),
    "cancel": ("Cancel", True),
}
WORKFLOW_JOBS = {"pause": ("Pause", False), "resume": ("Resume", False)}
ACTIONS = {**NODE_JOBS, **WORKFLOW_JOBS}


class Pace(msgspec.Struct, frozen=True):
    """Nodes a second."""

    done: float
    examined: float


class JobRow(msgspec.Struct, frozen=True):
    """A job, with who started it and why."""

    job: Job
    words: list[tuple[str, str]]
    entry: Entry | None
    #: What it is about: `nodes` or `workflows`.
    noun: str
    #: Nodes done and looked at a second, over the time that it ran; None: that is too short to say.
    pace: Pace | None


async def show_all(visit: Visit) -> Page:
    """GET /ui/jobs."""
    stored, _ = await _jobs(visit, None)
    jobs = [job for job in stored if not job.dry_run]
    jobs.sort(key=lambda job: (job.started_at, job.id), reverse=True)
    return visit.page(
        "jobs.html",
        "Jobs",
        live="t=jobs",
        rows=[_row(visit, job) for job in jobs[:_ROWS]],
        is_more=len(jobs) > _ROWS,
        **_choices(visit),
    )


def _choices(visit: Visit) -> dict[str, Any]:
    return {
        "actions": {word: label for word, (label, _) in NODE_JOBS.items()},
        "labels": {word: label for word, (label, _) in ACTIONS.items()},
        "statuses": STATUS_CHOICES,
        "clients": [client.name for client in visit.clients()],
    }


def _row(visit: Visit, job: Job) -> JobRow:
    entries = visit.parts.audit.newest(100, visitor=visit.who, of=id_text(job.id))
    started = next((entry for entry in reversed(entries) if entry.action in ACTIONS), None)
    return JobRow(job, in_words(visit, job), started, noun_of(job), pace_of(job, time.time_ns() // 1_000_000))


def noun_of(job: Job) -> str:
    """Noun of the job's subjects: nodes or workflows."""
    return "workflows" if job.action in WORKFLOW_JOBS else "nodes"


def pace_of(job: Job, now: int) -> Pace | None:
    """Pace of a job until its end, or until now."""
    seconds = ((now if job.ended_at is None else job.ended_at) - job.started_at) / 1_000
    if seconds < _PACE_SECONDS_MIN:
        return None
    return Pace((job.done + job.refused) / seconds, job.examined / seconds)


async def show(visit: Visit) -> Page:
    """GET /ui/jobs/{id}: of a count the form that does it, of any other how far it is."""
    job = await _job(visit)
    return await _page(visit, job)


async def _page(visit: Visit, job: Job, problem: str = "", status: int = 200) -> Page:
    label, is_final = ACTIONS.get(job.action, (job.action, False))
    is_running = job.state is JobState.RUNNING
    cause = await cause_by_id(visit, visit.query["cause"]) if visit.query.get("cause") else None
    return visit.page(
        "job.html",
        f"{label} {noun_of(job)}",
        live=_live(visit, job),
        live_id=id_text(job.id),
        row=_row(visit, job),
        job=job,
        label=label,
        is_final=is_final,
        is_startable=job.action in ACTIONS,
        is_running=is_running,
        actions={word: label for word, (label, _) in _beside(job).items()},
        fields=fields_of(visit, job),
        is_repeatable=job.ended_at is not None and job.action in ACTIONS and job.response is None,
        cause=cause,
        cause_nodes=0 if cause is None else cause.nodes.get(job.filter.current_status or "", 0),
        first=FIRST,
        tried=await _tried(visit),
        now=await _now(visit, job),
        **form_fields(visit),
        problem=problem,
        response_status=status,
        reload_seconds=_RELOAD_SECONDS if is_running or (job.ended_at is None and not job.dry_run) else 0,
        **visit.deeds(id_text(job.id)),
    )


def _live(visit: Visit, job: Job) -> str:
    """Words of the stream that tells this job's page of changes; none: a form is filled in there."""
    if visit.request.method != "GET" or (job.dry_run and job.ended_at is not None):
        return ""
    return f"j={id_text(job.id)}{'' if job.dry_run else '&t=figures'}"


def _beside(job: Job) -> dict[str, tuple[str, bool]]:
    """Actions of jobs over the same subjects."""
    return WORKFLOW_JOBS if job.action in WORKFLOW_JOBS else NODE_JOBS


async def _tried(visit: Visit) -> list[Any]:
    """Nodes that were tried before all others, as they are now."""
    ids = [identity for text in visit.query.get("tried", "").split(",")[:FIRST] if (identity := find_id(text))]
    nodes = await visit.nodes(ids)
    return [nodes[identity] for identity in ids if identity in nodes and visit.who.sees(nodes[identity].user_id)]


async def _now(visit: Visit, job: Job) -> dict[str, int] | None:
    """Nodes of this activity by status now, from the figures that all pages share; None: they are not known."""
    figures = await visit.parts.counter.figures()
    if job.filter.name is None or figures is None or figures.activities is None:
        return None
    clients = {job.filter.client_id} if job.filter.client_id is not None else None
    counts = {"failing": 0, "retrying": 0, "running": 0, "waiting": 0}
    for activity in figures.activities:
        owner = UUID(activity.user_id).bytes
        if activity.activity == job.filter.name and visit.who.sees(owner) and (clients is None or owner in clients):
            for word in counts:
                counts[word] += getattr(activity, word)
    return counts


# --- asking the engines ----------------------------------------------------------------------------------------------


async def _jobs(visit: Visit, job_id: bytes | None) -> tuple[list[Job], bool]:
    """Jobs that the visitor sees, each the sum of the partitions that answer, and whether all did."""
    parts, is_whole = await visit.ask_all(queries.GetJobs, "job", job_id=job_id)
    by_id: dict[bytes, list[Job]] = {}
    for job in (job for part in parts for job in part.jobs):
        if visit.who.sees(job.user_id):
            by_id.setdefault(job.id, []).append(job)
    return [add_up(records, visit.services.engine.partitions) for records in by_id.values()], is_whole


async def _job(visit: Visit) -> Job:
    identity = find_id(visit.values["id"])
    jobs, is_whole = ([], True) if identity is None else await _jobs(visit, identity)
    if not jobs and not is_whole:
        raise PageError(503, "Not every partition answers", " ".join(visit.troubles))
    if not jobs:
        raise not_found("job")
    return jobs[0]


async def _send(visit: Visit, make: Callable[[ReplyTo, int], commands.AnyCommand], target: str) -> tuple[Job, str]:
    """The job, as the partitions have it that took the command, and the outcome as the audit has it.

    PageError 400: it was refused. Refusal 503: no partition has answered.
    """
    engine = visit.services.engine

    async def command(partition: int) -> tuple[Job, ...]:
        route = partition.to_bytes(4, "big")
        try:
            reply = await engine.command(lambda reply_to: make(reply_to, partition), route, route, target)
        except Rejected as rejected:
            if rejected.reason == Reason.NOT_FOUND:
                return ()  # Never started in this partition.
            raise PageError(400, "The engine refused this", rejected.message) from rejected
        jobs: tuple[Job, ...] = reply.jobs
        return jobs

    sent = [command(partition) for partition in engine.every_partition()]
    jobs: list[Job] = []
    silent: list[Refusal] = []
    for answer in await asyncio.gather(*sent, return_exceptions=True):
        if isinstance(answer, Refusal):
            silent.append(answer)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            jobs += answer
    if not jobs:
        raise silent[0] if silent else not_found("job")
    outcome = (
        f"done, but {len(silent)} of {engine.partitions} partitions did not answer: {silent[0]}" if silent else DONE
    )
    return add_up(jobs, engine.partitions), outcome


# --- counting, starting, stopping ------------------------------------------------------------------------------------


async def count(visit: Visit) -> Response:
    """POST /ui/jobs: count what matches a filter; the page of that count can do it."""
    action = visit.form.get("action", "")
    if action not in ACTIONS:
        raise PageError(400, "This form was not whole", f"action is one of {', '.join(ACTIONS)}.")
    job_filter = filter_of_form(visit)
    # As whom: who sees all is the operator of all; anybody else touches what is the client's alone.
    user_id = None if visit.who.clients is None else job_filter.client_id
    job_id = os.urandom(16)

    def make(reply_to: ReplyTo, partition: int) -> commands.StartJob:
        return commands.StartJob(
            id=job_id,
            user_id=user_id,
            tid=visit.tid,
            reply_to=reply_to,
            partition=partition,
            action=action,
            filter=job_filter,
            dry_run=True,
        )

    job, _ = await _send(visit, make, f"job {id_text(job_id)}")
    cause = visit.form.get("cause", "")
    return responses.redirect(f"jobs/{id_text(job.id)}{f'?cause={cause}' if cause.isalnum() else ''}")


async def _start(visit: Visit, job_id: bytes, counted: Job, reason: str) -> str:
    """Start what was counted, as whoever it was counted for: a count made elsewhere names nobody in its filter."""

    def make(reply_to: ReplyTo, partition: int) -> commands.StartJob:
        return commands.StartJob(
            id=job_id,
            user_id=counted.user_id,
            tid=visit.tid,
            reply_to=reply_to,
            partition=partition,
            action=counted.action,
            filter=counted.filter,
            response=counted.response,
            note=reason,
            actor=visit.who.name,
        )

    _, outcome = await _send(visit, make, f"job {id_text(job_id)}")
    return outcome


async def start(visit: Visit) -> Page | Response:
    """POST /ui/jobs/{id}: do what this count has counted, to all or to the first few."""
    counted = await _job(visit)
    if not counted.dry_run:
        raise PageError(400, "This is done already", "It is a job, and no count of what one would change.")
    if counted.action not in ACTIONS:
        raise PageError(400, "This is not started here", f"{counted.action}: use `backbeat job start`.")
    if counted.user_id is None and visit.who.clients is not None:
        raise not_found("job")  # It would touch anybody's nodes.
    reason = visit.form.get("reason", "").strip()
    problem = reason_problem(reason, is_required=ACTIONS[counted.action][1])
    if problem:
        return await _page(visit, counted, problem, 400)
    if visit.form.get("how") == "first" and counted.action == "retry":
        return await _try_first(visit, counted, reason)
    # Sent twice it is the same job, and done once.
    job_id = command_id(visit)
    entry = _entry(visit, counted, job_id, action=counted.action, reason=reason, subject_id=id_text(job_id))

    async def send() -> str:
        return await _start(visit, job_id, counted, reason)

    await carry_out(visit, entry, send)
    return responses.redirect(f"{id_text(job_id)}?done={entry.id}")


async def _try_first(visit: Visit, counted: Job, reason: str) -> Response:
    """Retry the first few that were counted, one by one."""
    engine = visit.services.engine
    node_ids = [match.id for match in counted.matches[:FIRST]]
    job_id = id_text(counted.id)
    entry = _entry(visit, counted, command_id(visit), action=f"try the first {len(node_ids)}", reason=reason)

    async def retry(node_id: bytes) -> str:
        identity = command_id(visit, f" {id_text(node_id)}")
        try:
            await engine.command(
                lambda reply_to: commands.RestartNode(
                    id=identity,
                    tid=visit.tid,
                    body_hash=body_hash(f"restart {id_text(node_id)}"),
                    user_id=counted.user_id,
                    reply_to=reply_to,
                    node_id=node_id,
                ),
                node_id,
                node_id,
                f"node {id_text(node_id)}",
            )
        except Rejected as rejected:
            return rejected.message
        return ""

    async def send() -> str:
        problems = await every_answer(map(retry, node_ids))
        refused = [problem for problem in problems if problem]
        return f"refused {len(refused)} of {len(node_ids)}: {refused[0]}" if refused else DONE

    await carry_out(visit, entry, send)
    tried = ",".join(map(id_text, node_ids))
    return responses.redirect(f"{job_id}?done={entry.id}&tried={tried}")


def _entry(visit: Visit, job: Job, identity: bytes, **fields: str) -> Entry:
    """Entry of what is done with a job or a count: `fields` are its action, and a reason and subject of its own."""
    words = " ".join(f"{noun} {value}" for noun, value in in_words(visit, job))
    client_id = job.filter.client_id or job.user_id
    return new_entry(
        visit,
        kind="job",
        subject_name=f"{noun_of(job)} {words}"[:500],
        workflow_id="",
        client_id="" if client_id is None else id_text(client_id),
        command_id=identity.hex(),
        **{"reason": "", "subject_id": id_text(job.id), **fields},
    )


async def stop(visit: Visit) -> Response:
    """POST /ui/jobs/{id}/stop: have it go no further; what it has done stays."""
    job = await _job(visit)
    identity = command_id(visit)
    entry = _entry(visit, job, identity, action="stop")

    def make(reply_to: ReplyTo, partition: int) -> commands.StopJob:
        return commands.StopJob(
            id=identity, user_id=job.user_id, tid=visit.tid, reply_to=reply_to, partition=partition, job_id=job.id
        )

    async def send() -> str:
        _, outcome = await _send(visit, make, f"job {id_text(job.id)}")
        return outcome

    await carry_out(visit, entry, send)
    return responses.redirect(f"../{id_text(job.id)}?done={entry.id}")
