"""JSON of jobs, in requests and answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from backbeat.gateway.http.presentation import CLIENT_WORDS, SERVER_WORDS, id_text, time_text
from backbeat.schemas.messages import jobs

STATUSES = tuple(dict.fromkeys((*SERVER_WORDS, *CLIENT_WORDS)))

Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Count = Annotated[int, Meta(ge=0)]
Status = Annotated[str, Meta(extra_json_schema={"enum": list(STATUSES)})]
#: Description of a filter's text.
_CONTAINED = "contained in the compact JSON text of the {}"


class JobFilter(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Filters of a job. All must match; null matches every node or workflow."""

    name: str | None
    workflow_name: str | None
    workflow_id: Id | None
    client_id: Id | None
    subject: str | None
    metadata: str | None
    error: str | None
    current_status: str | None
    past_status: str | None
    status_start: Time | None
    status_end: Time | None
    created_start: Time | None
    created_end: Time | None


class JobMatch(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A node or workflow that matched a job."""

    id: Id
    name: str
    workflow_name: str


class JobRefusal(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A node or workflow that a job could not change."""

    id: Id
    reason: Annotated[str, Meta(description="as one word: invalid_server_status; defect: the engine failed on it")]
    message: str


class Job(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A change of all nodes or workflows that match."""

    id: Id
    action: str
    filter: JobFilter
    response: Annotated[Any, Meta(description="what nodes that are resolved or shut down keep; null: nothing")]
    dry_run: bool
    state: Annotated[
        Literal["running", "stopped", "done", "partial"],
        Meta(description="partial: begun in some partitions only; POST it again with its id"),
    ]
    started_at: Time
    ended_at: Time | None
    examined: Annotated[int, Meta(ge=0, description="nodes or workflows that were looked at, other users' too")]
    matched: Count
    done: Annotated[int, Meta(ge=0, description="of those that matched, how many were changed")]
    refused: Annotated[int, Meta(ge=0, description="and how many could not be")]
    matches: Annotated[list[JobMatch], Meta(description="some that matched, at most 20")]
    refusals: Annotated[list[JobRefusal], Meta(description="some that were refused, at most 20")]


class NewJob(msgspec.Struct, forbid_unknown_fields=True):
    """A job to be started. All filters must match; pause and resume take those of workflows only."""

    action: Annotated[
        Literal["retry", "resolve", "shutdown", "cancel", "pause", "resume"],
        Meta(description="pause and resume are about workflows, the others about nodes"),
    ]
    id: Annotated[Id | None, Meta(description="begun again under it, it is the same job; without: a new one")] = None
    dry_run: Annotated[bool | None, Meta(description="only count, and show some that match")] = None
    response: Annotated[Any, Meta(description="for resolve and shutdown: any JSON value that the nodes keep")] = None
    all: Annotated[bool | None, Meta(description="without a filter: that every node or workflow is meant")] = None
    name: Annotated[str | None, Meta(description="the node's whole name")] = None
    workflow_name: Annotated[str | None, Meta(description="the workflow's whole name")] = None
    workflow_id: Id | None = None
    client_id: Annotated[Id | None, Meta(description="the user that runs it: the caller, or nothing matches")] = None
    subject: Annotated[str | None, Meta(description=_CONTAINED.format("subject"))] = None
    metadata: Annotated[str | None, Meta(description=_CONTAINED.format("metadata"))] = None
    error: Annotated[str | None, Meta(description="contained in what the node's last error says")] = None
    current_status: Annotated[
        Status | None,
        Meta(description="the node is at this server or client status (retries_exhausted; cancel needs one)"),
    ] = None
    past_status: Annotated[Status | None, Meta(description="the node was once changed to this status")] = None
    status_start: Annotated[Time | None, Meta(description="its status was changed then or later (ISO 8601)")] = None
    status_end: Annotated[Time | None, Meta(description="its status was changed then or before")] = None
    created_start: Annotated[Time | None, Meta(description="it was made then or later")] = None
    created_end: Annotated[Time | None, Meta(description="it was made then or before")] = None


_FILTERS = tuple(name for name in jobs.JobFilter.__struct_fields__ if name != "client_id")
_NOT_ALL: dict[str, Any] = {"enum": [False, None]}


def _kinds(actions: list[str], filters: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Schemas of jobs with these actions and filters: over everything, and with at least one filter."""
    constraints = {"action": {"enum": actions}} | {name: {"type": "null"} for name in _FILTERS if name not in filters}
    yield {
        "properties": constraints | {"all": {"const": True}} | {name: {"type": "null"} for name in filters},
        "required": ["all"],
    }
    for name in filters:
        yield {"properties": constraints | {"all": _NOT_ALL, name: {"type": "string"}}, "required": [name]}


#: Constraints of a NewJob's schema: the filters of each action, and at least one of them or `all`.
KINDS: list[dict[str, Any]] = [
    *_kinds(["retry", "resolve", "shutdown"], _FILTERS),
    {
        "properties": {"action": {"const": "cancel"}, "current_status": {"type": "string"}, "all": _NOT_ALL},
        "required": ["current_status"],
    },
    *_kinds(list(jobs.WORKFLOW_ACTIONS), tuple(name for name in _FILTERS if name not in jobs.NODE_FILTERS)),
]


def job_json(job: jobs.Job) -> Job:
    """A job, added up over the partitions, as the answer's struct."""
    filters = job.filter
    return Job(
        id=id_text(job.id),
        action=job.action,
        filter=JobFilter(
            name=filters.name,
            workflow_name=filters.workflow_name,
            workflow_id=_id(filters.workflow_id),
            client_id=_id(filters.client_id),
            subject=filters.subject,
            metadata=filters.metadata,
            error=filters.error,
            current_status=filters.current_status,
            past_status=filters.past_status,
            status_start=_time(filters.status_start),
            status_end=_time(filters.status_end),
            created_start=_time(filters.created_start),
            created_end=_time(filters.created_end),
        ),
        response=None if job.response is None else msgspec.Raw(job.response),
        dry_run=job.dry_run,
        state=job.state.value,
        started_at=time_text(job.started_at),
        ended_at=_time(job.ended_at),
        examined=job.examined,
        matched=job.matched,
        done=job.done,
        refused=job.refused,
        matches=[JobMatch(id_text(match.id), match.name, match.workflow_name) for match in job.matches],
        refusals=[JobRefusal(id_text(refusal.id), refusal.reason, refusal.message) for refusal in job.refusals],
    )


def _id(identity: bytes | None) -> str | None:
    return None if identity is None else id_text(identity)


def _time(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else time_text(milliseconds)
