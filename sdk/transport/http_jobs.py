"""Jobs as a gateway is told of them and tells of them (docs/how-to/jobs.md)."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import msgspec

from backbeat.payload.values import id_text
from backbeat.schemas.messages.commands import StartJob
from backbeat.schemas.messages.jobs import TIME_FILTERS, Job, JobFilter, JobMatch, JobRefusal, JobState, scope_problem
from backbeat.transport.http_values import decode, milliseconds, time_text


class _Filter(msgspec.Struct, rename="camel", gc=False):
    name: str | None
    workflow_name: str | None
    workflow_id: uuid.UUID | None
    subject: str | None
    metadata: str | None
    error: str | None
    current_status: str | None
    past_status: str | None
    status_start: datetime | None
    status_end: datetime | None
    created_start: datetime | None
    created_end: datetime | None


class _Match(msgspec.Struct, rename="camel", gc=False):
    id: uuid.UUID
    name: str
    workflow_name: str


class _Refused(msgspec.Struct, gc=False):
    id: uuid.UUID
    reason: str
    message: str


class _Job(msgspec.Struct, rename="camel", gc=False):
    id: uuid.UUID
    action: str
    filter: _Filter
    response: msgspec.Raw
    dry_run: bool
    state: JobState
    started_at: datetime
    ended_at: datetime | None
    examined: int
    matched: int
    done: int
    refused: int
    matches: list[_Match]
    refusals: list[_Refused]


def job_said(command: StartJob) -> bytes:
    """The body of POST /jobs."""
    said: dict[str, Any] = {"id": id_text(command.id), "action": command.action, "dry_run": command.dry_run}
    if command.response is not None:
        said["response"] = msgspec.Raw(command.response)
    for name in JobFilter.__struct_fields__:
        value = getattr(command.filter, name)
        if isinstance(value, bytes):
            said[name] = id_text(value)
        elif value is not None:
            said[name] = time_text(value) if name in TIME_FILTERS else value
    if scope_problem(command.filter, everything=False):
        # It was said, or there were no such command.
        said["all"] = True
    return msgspec.json.encode(said)


def read_job(text: bytes) -> Job:
    """A job, all partitions added up."""
    return _job(decode(text, _Job))


def read_jobs(text: bytes) -> tuple[Job, ...]:
    """A list of jobs."""
    return tuple(_job(one) for one in decode(text, list[_Job]))


def _job(said: _Job) -> Job:
    response = bytes(said.response)
    return Job(
        id=said.id.bytes,
        partition=0,
        user_id=None,
        action=said.action,
        filter=JobFilter(**{name: _filter(getattr(said.filter, name)) for name in _Filter.__struct_fields__}),
        response=None if response == b"null" else response,
        dry_run=said.dry_run,
        started_at=milliseconds(said.started_at),
        state=said.state,
        ended_at=None if said.ended_at is None else milliseconds(said.ended_at),
        examined=said.examined,
        matched=said.matched,
        done=said.done,
        refused=said.refused,
        matches=tuple(JobMatch(one.id.bytes, one.name, one.workflow_name) for one in said.matches),
        refusals=tuple(JobRefusal(one.id.bytes, one.reason, one.message) for one in said.refusals),
    )


def _filter(value: str | uuid.UUID | datetime | None) -> Any:
    if isinstance(value, uuid.UUID):
        return value.bytes
    return milliseconds(value) if isinstance(value, datetime) else value
