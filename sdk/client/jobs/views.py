"""Jobs as callers have them: ids as text, times as datetimes, all partitions added up."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from backbeat.payload.nouns import Count, Id, JsonText, Source, Time
from backbeat.payload.values import from_json


class JobFilter(msgspec.Struct, rename="camel", frozen=True):
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


class JobMatch(msgspec.Struct, rename="camel", frozen=True):
    """A node or workflow that matched a job."""

    id: Id
    name: str
    workflow_name: str


class JobRefusal(msgspec.Struct, rename="camel", frozen=True):
    """A node or workflow that a job could not change."""

    id: Id
    reason: Annotated[str, Meta(description="as one word: invalid_server_status; defect: the engine failed on it")]
    message: str


class Job(msgspec.Struct, rename="camel", frozen=True, eq=False):
    """A change of all nodes or workflows that match."""

    id: Id
    action: str
    filter: JobFilter
    response_text: Annotated[
        JsonText | None,
        Meta(description="what nodes that are resolved or shut down keep; null: nothing"),
        Source("response"),
    ] = field(name="response")
    dry_run: bool
    state: Annotated[
        Literal["running", "stopped", "done", "partial"],
        Meta(description="partial: begun in some partitions only; POST it again with its id"),
        Source("state.value"),
    ]
    started_at: Time
    ended_at: Time | None
    examined: Annotated[int, Meta(ge=0, description="nodes or workflows that were looked at, other users' too")]
    matched: Count
    done: Annotated[int, Meta(ge=0, description="of those that matched, how many were changed")]
    refused: Annotated[int, Meta(ge=0, description="and how many could not be")]
    matches: Annotated[list[JobMatch], Meta(description="some that matched, at most 20")]
    refusals: Annotated[list[JobRefusal], Meta(description="some that were refused, at most 20")]
    note: Annotated[str, Meta(description="why, as whoever has started it said")]
    actor: Annotated[str, Meta(description="the person who has started it; empty: a client application has")]

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.action}: {self.state}, {self.done} done, {self.refused} refused>"

    @property
    def filters(self) -> dict[str, Any]:
        """Filters that `jobs.start` was given, and the status that its action means."""
        filters = msgspec.structs.asdict(self.filter)
        return {name: value for name, value in filters.items() if value is not None}

    @property
    def response(self) -> Any:
        """Response that resolved nodes and those shut down keep; None: none."""
        return None if self.response_text is None else from_json(bytes(self.response_text))

    @property
    def ended(self) -> bool:
        """True: it is done, or was stopped."""
        return self.state in ("done", "stopped")
