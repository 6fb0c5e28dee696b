"""Requests about jobs; the API's description is made from these structs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from backbeat.gateway.http.presentation import CLIENT_WORDS, SERVER_WORDS
from backbeat.schemas.messages import jobs

STATUSES = tuple(dict.fromkeys((*SERVER_WORDS, *CLIENT_WORDS)))

Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Count = Annotated[int, Meta(ge=0)]
Status = Annotated[str, Meta(extra_json_schema={"enum": list(STATUSES)})]
#: Description of a filter's text.
_CONTAINED = "contained in the compact JSON text of the {}"


class NewJob(msgspec.Struct, forbid_unknown_fields=True):
    """A job to be started. All filters must match; pause and resume take those of workflows only."""

    action: Annotated[
        Literal["retry", "resolve", "shutdown", "cancel", "pause", "resume"],
        Meta(description="pause and resume are about workflows, the others about nodes"),
    ]
    id: Annotated[Id | None, Meta(description="begun again under it, it is the same job; without: a new one")] = None
    dry_run: Annotated[bool | None, Meta(description="only count, and show some that match")] = None
    response: Annotated[Any, Meta(description="for resolve and shutdown: any JSON value that the nodes keep")] = None
    note: Annotated[
        Annotated[str, Meta(max_length=jobs.NOTE_CHARACTERS_MAX)] | None,
        Meta(description="why: it is kept with the job"),
    ] = None
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
