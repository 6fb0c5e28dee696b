"""What can be asked of the projection (behaviour document, section 5, "Search")."""

from __future__ import annotations

import msgspec

PER_PAGE_DEFAULT = 25


class _Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What both searches know. All filters add up; an absent one holds for every row."""

    #: the whole name
    name: str | None = None
    #: a status that either machine of a node has now
    current_status: str | None = None
    #: the `to_status` of a status change; holds on the same one as the two times
    past_status: str | None = None
    #: of a status change, milliseconds since the epoch: not before
    status_start_ms: int | None = None
    #: not after
    status_end_ms: int | None = None
    per_page: int = PER_PAGE_DEFAULT
    #: 1 is the first
    page: int = 1
    #: only rows older than this one, by (created, id)
    last_id: bytes | None = None


class WorkflowFilters(_Filters, frozen=True, kw_only=True):
    """A search of workflows that have nodes, newest first; the status filters hold on one same node."""

    #: stands in the subject's compact JSON text, letter for letter
    subject_contains: str | None = None


class NodeFilters(_Filters, frozen=True, kw_only=True):
    """A search of nodes by their own user, oldest first."""

    #: stands in the metadata's compact JSON text, letter for letter
    metadata_contains: str | None = None


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many nodes of all users are where, and what came of them."""

    #: due, or with their clients
    enqueued: int
    #: started, waiting for their fires_at
    scheduled: int
    #: failed, waiting to be tried again
    retrying: int
    #: changes to server status complete, since the beginning and since midnight UTC
    completed: int
    completed_today: int
    #: changes to client status errored
    errored: int
    errored_today: int
