"""Searches, which a gateway answers: workflows and nodes of the client application, by pages; causes; timelines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypedDict

import msgspec
from msgspec import Meta

from backbeat.client.node import Node
from backbeat.client.session import Session, as_id
from backbeat.client.views import Workflow
from backbeat.payload.values import Id as AnyId
from backbeat.payload.values import aware, from_json, to_datetime, to_json
from backbeat.schemas.requests.decoding import prepare

#: Rows asked for at once.
_PAGE_ROWS = 250


class SearchOptions(TypedDict, total=False):
    """Filters of a search: all of them must hold."""

    #: The whole name.
    name: str | None
    #: Either status of a node (for workflows: of one of its nodes) now; or its bucket: failing, retrying, running,
    #: waiting, paused, open, done, canceled.
    current_status: str | None
    #: A status change to it, or within these times, or both.
    past_status: str | None
    status_start: datetime | None
    status_end: datetime | None
    #: When it was made.
    created_start: datetime | None
    created_end: datetime | None
    #: The transaction id of the command that made a node.
    tid: str | None
    #: An activity of whose limit a node waits for a slot, and the key that the slot is of (`LimitPool.key`).
    slot: str | None
    slot_key: Any
    #: The id of a workflow or node: only older ones.
    older_than: str | None
    #: Rows at most.
    limit: int | None


class WorkflowSearchOptions(SearchOptions, total=False):
    """Filters of a search for workflows."""

    #: Contained in the compact JSON text of the subject.
    subject: str | None


class NodeSearchOptions(SearchOptions, total=False):
    """Filters of a search for nodes."""

    #: Contained in the compact JSON text of the node's metadata.
    metadata: str | None
    #: The id of its workflow, and of the node right above it.
    workflow_id: AnyId | bytes | None
    parent_id: AnyId | bytes | None
    #: The id of the cause that it has failed with (`Cause.id`).
    cause: str | None
    #: None of its statuses has changed after this: what has been silent for long.
    unchanged_since: datetime | None


class SearchCount(msgspec.Struct, frozen=True):
    """Number of rows that a search finds, counted up to a bound."""

    count: int
    more: Annotated[bool, Meta(description="the bound was reached, and there are more")]

    def __str__(self) -> str:
        return f"{self.count:,}{'+' if self.more else ''}"


# Clients may be in several threads.
prepare(SearchCount)
_OF_A_PAGE = ("older_than", "limit")
WORKFLOW_SEARCH_WORDS = tuple(WorkflowSearchOptions.__annotations__)
NODE_SEARCH_WORDS = tuple(NodeSearchOptions.__annotations__)
WORKFLOW_COUNT_WORDS = tuple(word for word in WORKFLOW_SEARCH_WORDS if word not in _OF_A_PAGE)
NODE_COUNT_WORDS = tuple(word for word in NODE_SEARCH_WORDS if word not in _OF_A_PAGE)
COUNT_DEFAULT = 10_000


async def find_workflows(session: Session, options: WorkflowSearchOptions) -> AsyncIterator[Workflow]:
    """Workflows that have nodes, newest first."""
    filters, last_id, left = _parameters(options), options.get("older_than"), options.get("limit")
    while left is None or left > 0:
        rows = _PAGE_ROWS if left is None else min(left, _PAGE_ROWS)
        views = await session.search("workflows", {**filters, "last_id": last_id, "per_page": rows})
        for view in views:
            yield Workflow(view)
        if len(views) < rows:
            return
        last_id, left = Workflow(views[-1]).id, None if left is None else left - rows


async def find_nodes(session: Session, options: NodeSearchOptions) -> AsyncIterator[Node]:
    """Nodes that the client application runs, oldest first, none twice."""
    limit = options.get("limit")
    rows = _PAGE_ROWS if limit is None else min(limit, _PAGE_ROWS)
    if session.asker_id is None:
        async for node in _find_anybodys_nodes(session, options, limit):
            yield node
        return
    # All pages have the same length: a page is found by counting.
    filters = {**_parameters(options), "last_id": options.get("older_than"), "per_page": rows}
    node_ids: set[bytes] = set()
    page = 0
    while limit is None or len(node_ids) < limit:
        page += 1
        views = await session.search("activities", {**filters, "page": page})
        for view in views:
            if view.id not in node_ids and (limit is None or len(node_ids) < limit):
                node_ids.add(view.id)
                yield Node(session, view)
        if len(views) < rows:
            return


async def _find_anybodys_nodes(session: Session, options: NodeSearchOptions, limit: int | None) -> AsyncIterator[Node]:
    """Nodes of all client applications, newest first."""
    filters, last_id, left = _parameters(options), options.get("older_than"), limit
    while left is None or left > 0:
        rows = _PAGE_ROWS if left is None else min(left, _PAGE_ROWS)
        views = await session.search("activities", {**filters, "last_id": last_id, "per_page": rows})
        for view in views:
            yield Node(session, view)
        if len(views) < rows:
            return
        last_id, left = Node(session, views[-1]).id, None if left is None else left - rows


def _parameters(options: SearchOptions) -> dict[str, Any]:
    """Filters as the HTTP API has them, paging left out."""
    filters: dict[str, Any] = {**options}
    for name in _OF_A_PAGE:
        filters.pop(name, None)
    for name in ("status_start", "status_end", "created_start", "created_end", "unchanged_since"):
        filters[name] = time_text(name, filters.get(name))
    for name in ("workflow_id", "parent_id"):
        if filters.get(name) is not None:
            filters[name] = as_id(filters[name])[1]
    if "slot_key" in filters:
        filters["slot_key"] = to_json("slot_key", filters["slot_key"]).decode()
    return filters


async def count(session: Session, call: str, options: SearchOptions, count_max: int) -> SearchCount:
    """Number of rows. Unavailable: the client knows no gateway."""
    return msgspec.convert(await session.search(call, {**_parameters(options), "count_max": count_max}), SearchCount)


def time_text(name: str, at: datetime | None) -> str | None:
    """A filter's time as the HTTP API has it."""
    if at is None:
        return None
    return aware(name, at).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes of one activity that have failed with what is, but for ids, numbers and quoted words, the same error."""

    id: str
    activity: str
    cause: str  #: the error with `#` for what differs; empty: no error is known
    sample: str  #: one of the errors as it was
    fixed: str  #: the longest piece that is the same in all of them: for the filter `error` of a job
    nodes: dict[str, int]  #: by status: retries_exhausted, errored, retrying
    workflows: int  #: workflows that these nodes are in
    first_at: datetime  #: of the first of these failures
    last_at: datetime  #: of the last
    last_hour: list[int]  #: failures of the last hour, in twelve parts of it, the oldest first


async def find_causes(session: Session, limit: int, kinds: Collection[str]) -> list[Cause]:
    """Causes, those first that need a person. Unavailable: the client knows no gateway."""
    answer: dict[str, Any] = await session.search("causes", {"limit": limit, "kind": ",".join(kinds) or None})
    return [
        Cause(
            id=row["id"],
            activity=row["activity"],
            cause=row["cause"],
            sample=row["sample"],
            fixed=row["fixed"],
            nodes=row["nodes"],
            workflows=row["workflows"],
            first_at=to_datetime(row["firstAt"]),
            last_at=to_datetime(row["lastAt"]),
            last_hour=row["lastHour"],
        )
        for row in answer["causes"]
    ]


class FailureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Failed nodes of one activity, client application or workflow."""

    user_id: str  #: the client application that runs them; of a workflow: that owns it
    activity: str | None
    workflow_id: str | None
    workflow: str | None  #: its name
    subject: Any  #: the workflow's
    nodes: dict[str, int]  #: by status: retries_exhausted, errored, retrying
    workflows: int  #: workflows that these nodes are in
    first_at: datetime  #: of the first of these failures
    last_at: datetime  #: of the last


async def find_failures(session: Session, by: str, limit: int, kinds: Collection[str]) -> list[FailureGroup]:
    """Failed nodes in groups, those first that need a person. Unavailable: the client knows no gateway."""
    filters = {"by": by, "limit": limit, "kind": ",".join(kinds) or None}
    answer: dict[str, Any] = await session.search("failures", filters)
    return [
        FailureGroup(
            user_id=row["userId"],
            activity=row.get("activity"),
            workflow_id=row.get("workflowId"),
            workflow=row.get("workflow"),
            subject=None if row.get("subject") is None else from_json(row["subject"].encode()),
            nodes=row["nodes"],
            workflows=row["workflows"],
            first_at=to_datetime(row["firstAt"]),
            last_at=to_datetime(row["lastAt"]),
        )
        for row in answer["groups"]
    ]


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a node's time."""

    kind: str  #: waits, client (in its queue), worker, backoff, children, paused or failed
    since: datetime
    until: datetime  #: of an open node now

    @property
    def lasted(self) -> timedelta:
        """Length of time."""
        return self.until - self.since


class TimelineNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node of a timeline."""

    id: str
    parent_id: str | None
    user_id: str
    name: str
    created_at: datetime
    ended_at: datetime | None  #: None: it is open
    spans: list[Span]  #: one after the other, from when it was made on
    errors: list[datetime]  #: when an attempt failed
    has_children: bool


class TimelineGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Children of one name, from 50 on."""

    user_id: str
    name: str
    total: int
    since: datetime
    until: datetime  #: while one is open, now
    open: list[int]  #: in each of 100 equal parts of that time: how many were open at any moment of it


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """Timeline of the nodes right below a node, or at the top of a workflow: the spans of each."""

    at: datetime
    nodes: list[TimelineNode]
    groups: list[TimelineGroup]  #: with `fold`: nodes that are not in the list since there are many of one name
    next: str | None  #: what to give as `after` for the next ones; None: there are none
    critical_path: list[TimelineNode]  #: from the top down the child that ended last, or is open


async def find_timeline(
    session: Session,
    workflow_id: AnyId | bytes,
    *,
    below: AnyId | bytes | None,
    after: AnyId | bytes | None,
    name: str | None,
    fold: bool,
    limit: int,
) -> Timeline:
    """A page of the timeline. NotFound; Unavailable: the client knows no gateway."""
    filters = {
        "workflow": as_id(workflow_id)[1],
        "below": None if below is None else as_id(below)[1],
        "after": None if after is None else as_id(after)[1],
        "name": name,
        "fold": "true" if fold else None,
        "limit": limit,
    }
    answer: dict[str, Any] = await session.search("timeline", filters)
    return Timeline(
        at=to_datetime(answer["at"]),
        nodes=[_node(row) for row in answer["nodes"]],
        groups=[
            TimelineGroup(
                user_id=row["userId"],
                name=row["name"],
                total=row["total"],
                since=to_datetime(row["from"]),
                until=to_datetime(row["to"]),
                open=row["open"],
            )
            for row in answer.get("groups", ())
        ],
        next=answer["next"],
        critical_path=[_node(row) for row in answer["criticalPath"]],
    )


class NameCount(msgspec.Struct, frozen=True, kw_only=True):
    """The children of one name, of one client application."""

    user_id: str
    name: str
    total: int
    nodes: dict[str, int]  #: by server status
    #: When the first that waits for a retry is tried again; None: none waits, or more than 1,000 of the workflow do.
    first_retry_at: datetime | None


class ChildCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of nodes right below a node."""

    at: datetime
    total: int
    names: list[NameCount]  #: by name, those first of which there are most
    more: int  #: names that are not in the list


async def find_child_counts(session: Session, node_id: AnyId | bytes, limit: int) -> ChildCounts:
    """The children of a node by name and status. NotFound; Unavailable: the client knows no gateway."""
    answer: dict[str, Any] = await session.search("child_counts", {"node": as_id(node_id)[1], "limit": limit})
    names = [
        NameCount(
            user_id=row["userId"],
            name=row["name"],
            total=row["total"],
            nodes=row["nodes"],
            first_retry_at=_time(row.get("firstRetryAt")),
        )
        for row in answer["names"]
    ]
    return ChildCounts(at=to_datetime(answer["at"]), total=answer["total"], names=names, more=answer["more"])


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else to_datetime(milliseconds)


def _node(row: dict[str, Any]) -> TimelineNode:
    return TimelineNode(
        id=row["id"],
        parent_id=row["parentId"],
        user_id=row["userId"],
        name=row["name"],
        created_at=to_datetime(row["createdAt"]),
        ended_at=_time(row["endedAt"]),
        spans=[
            Span(kind=span["kind"], since=to_datetime(span["from"]), until=to_datetime(span["to"]))
            for span in row["spans"]
        ],
        errors=[to_datetime(at) for at in row["errors"]],
        has_children=row["hasChildren"],
    )
