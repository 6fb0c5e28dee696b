"""Filters and counts of the projection (behaviour document, section 5, "Search")."""

from __future__ import annotations

import msgspec

PER_PAGE_DEFAULT = 25


class _Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Filters of both searches. All must match; an absent one matches every row."""

    #: Whole name.
    name: str | None = None
    #: Status that either machine of a node has now, or its bucket.
    current_status: str | None = None
    #: `to_status` of a status change; the same change must match the two times.
    past_status: str | None = None
    #: Time of a status change, milliseconds since the epoch: from this on.
    status_start_ms: int | None = None
    #: And up to this, inclusive.
    status_end_ms: int | None = None
    #: When the row was made, likewise.
    created_start_ms: int | None = None
    created_end_ms: int | None = None
    #: Transaction id of the command that made a node.
    tid: str | None = None
    #: Activity of the user's, of whose limit a node waits for a slot.
    slot: str | None = None
    #: Key that the slot is of, as JSON text; with `slot`.
    slot_key: str | None = None
    per_page: int = PER_PAGE_DEFAULT
    #: Counted from 1.
    page: int = 1
    #: Only rows older than this one, by (created, id).
    last_id: bytes | None = None
    #: The same, by the position itself: milliseconds since the epoch, and id.
    older_than: tuple[int, bytes] | None = None


class WorkflowFilters(_Filters, frozen=True, kw_only=True):
    """Search of workflows that have nodes, newest first; all filters of nodes must match one node."""

    #: Contained in the subject's compact JSON text, case sensitive.
    subject_contains: str | None = None


class NodeFilters(_Filters, frozen=True, kw_only=True):
    """Search of nodes by their own user, oldest first."""

    newest_first: bool = False
    workflow_id: bytes | None = None
    parent_id: bytes | None = None
    #: Contained in the metadata's compact JSON text, case sensitive.
    metadata_contains: str | None = None
    #: Id of the cause that it has failed with, as reports have it.
    cause: str | None = None
    #: No status has changed after this, milliseconds since the epoch.
    unchanged_since_ms: int | None = None


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes of all users by state, and their results."""

    #: Due, or with their clients.
    enqueued: int
    #: Started, waiting for their fires_at.
    scheduled: int
    #: Failed, waiting for a retry.
    retrying: int
    #: Changes to server status complete, ever and since midnight UTC.
    completed: int
    completed_today: int
    #: Changes to client status errored.
    errored: int
    errored_today: int
