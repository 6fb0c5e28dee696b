"""Timeline of a workflow: spans of its nodes from their status changes, and the path that took longest.

A page costs what its nodes' changes cost; the path a walk over the workflow's nodes, and one over the children of each
node on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from backbeat.gateway.api.shapes.timeline import Span, Timeline, TimelineGroup, TimelineNode
from backbeat.gateway.projection.reading.reports import node_names
from backbeat.gateway.projection.reading.search import nodes_by_number
from backbeat.gateway.projection.reading.siblings import children_by_name, group_keys
from backbeat.gateway.projection.reading.timeline_groups import timeline_groups
from backbeat.gateway.projection.storage import facts, states
from backbeat.payload.values import id_text
from backbeat.schemas.messages.status import CLOSED, ClientStatus, ServerStatus
from backbeat.schemas.messages.views import NodeView

#: Changes of a node that are looked at, the first ones: a node that is tried for a year has thousands.
CHANGES_MAX = 500
_LEVELS_MAX = 50
#: Later than any time in milliseconds.
_OPEN = 1 << 60

_KIND_OF = {
    ServerStatus.PENDING: "waits",
    ServerStatus.READY: "waits",
    ServerStatus.STARTED: "waits",
    ServerStatus.SENT_TO_CLIENT: "client",
    ServerStatus.PROCESSING_CHILDREN: "children",
    ServerStatus.PAUSED: "paused",
    ServerStatus.ERRORED: "failed",
    ServerStatus.RETRYING: "backoff",
    ServerStatus.RETRIES_EXHAUSTED: "failed",
}
_AT_WORK = (int(ClientStatus.PROCESSING),)


class TimelinePart(msgspec.Struct, frozen=True):
    """The part of a timeline that is asked for."""

    limit: int
    #: None: the nodes at the top.
    below: bytes | None = None
    #: The node behind which it begins.
    after: bytes | None = None
    #: Nodes of this name alone; None: of all.
    name: str | None = None
    #: True: many nodes of one name below a node are a group.
    folds: bool = False
    #: Time for which groups are counted; None: as they have it.
    begin: int | None = None
    end: int | None = None


def timeline(connection: Connection, workflow_id: bytes, part: TimelinePart) -> Timeline | None:
    """A part of a workflow's timeline; None: the workflow is not in the projection (yet)."""
    number = connection.execute(text("SELECT no FROM workflows WHERE id = :id"), {"id": workflow_id}).scalar()
    if number is None:
        return None
    now = facts.now_ms()
    by_name = _children_by_name(connection, number, part.below)
    folded = group_keys(by_name) if part.folds and part.name is None else []
    numbers = _numbers(connection, number, part, by_name, folded)
    path = _path(connection, number)
    nodes = _nodes(connection, [*numbers[: part.limit], *path], now)
    shown = [nodes[node_no] for node_no in numbers[: part.limit] if node_no in nodes]
    groups: list[TimelineGroup] = []
    if folded and part.below is not None and part.after is None:
        groups = timeline_groups(connection, part.below, by_name, now=now, begin=part.begin, end=part.end)
    return Timeline(
        at=now,
        nodes=shown,
        groups=groups,
        next=shown[-1].id if len(numbers) > part.limit and shown else None,
        critical_path=[nodes[node_no] for node_no in path if node_no in nodes],
    )


def _children_by_name(
    connection: Connection, workflow_no: int, parent_id: bytes | None
) -> Mapping[int, Counter[ServerStatus]]:
    """Counts of a node's children; empty for a node of another workflow, which the caller may not be allowed to see."""
    own = text("SELECT 1 FROM nodes WHERE id = :parent AND workflow_no = :no")
    if parent_id is None or connection.execute(own, {"parent": parent_id, "no": workflow_no}).scalar() is None:
        return {}
    return children_by_name(connection, parent_id)


def _numbers(
    connection: Connection,
    workflow_no: int,
    part: TimelinePart,
    by_name: Mapping[int, Counter[ServerStatus]],
    folded: Collection[int],
) -> list[int]:
    """Numbers of the nodes of a part, and of one behind them."""
    condition = "parent_id IS NULL" if part.below is None else "parent_id = :below"
    if part.after is not None:
        condition += " AND seq > (SELECT seq FROM nodes WHERE id = :after)"
    if folded:
        if by_name.keys() == set(folded):
            # A walk over all of them that finds none.
            return []
        condition += f" AND name_key NOT IN ({', '.join(map(str, folded))})"
    elif part.name is not None:
        keys = [key for key, name in node_names(connection, list(by_name)).items() if name.name == part.name]
        condition += f" AND name_key IN ({', '.join(map(str, keys)) or 'NULL'})"
    rows = connection.execute(
        text(f"SELECT no FROM nodes WHERE workflow_no = :no AND {condition} ORDER BY seq LIMIT :count"),  # noqa: S608 - our own words and whole numbers
        {"no": workflow_no, "below": part.below, "after": part.after, "count": part.limit + 1},
    )
    return list(rows.scalars())


def _path(connection: Connection, workflow_no: int) -> list[int]:
    """Numbers of the nodes of the critical path, from the top down: of each the child that ended last."""
    closed = ", ".join(str(int(server)) for server in CLOSED)
    # An open node ends after all that are closed; of several the one that was made first has been open longest.
    rank = f"CASE WHEN state & {states.SERVER_BITS} IN ({closed}) THEN last_at ELSE {_OPEN} - seq END"
    last = f"ORDER BY {rank} DESC LIMIT 1"
    top = text(f"SELECT no, id FROM nodes WHERE workflow_no = :no AND parent_id IS NULL {last}")  # noqa: S608 - our own words and whole numbers
    # Not of the workflow, too: a database that takes its index walks over all of it for each level.
    below = text(f"SELECT no, id FROM nodes WHERE parent_id = :parent {last}")  # noqa: S608 - likewise
    path: list[int] = []
    row = connection.execute(top, {"no": workflow_no}).one_or_none()
    while row is not None and len(path) < _LEVELS_MAX:
        path.append(row.no)
        row = connection.execute(below, {"parent": bytes(row.id)}).one_or_none()
    return path


def _nodes(connection: Connection, numbers: Sequence[int], now: int) -> dict[int, TimelineNode]:
    numbers = sorted(set(numbers))
    listed = ", ".join(map(str, numbers)) or "NULL"
    statement = (
        "SELECT node_no, code, at FROM (SELECT node_no, ordinal, code, at,"  # noqa: S608 - whole numbers
        " ROW_NUMBER() OVER (PARTITION BY node_no ORDER BY ordinal) AS place"
        f" FROM status_changes WHERE node_no IN ({listed})) AS numbered WHERE place <= {CHANGES_MAX}"
        " ORDER BY node_no, ordinal"
    )
    changes: dict[int, list[tuple[int, int]]] = {}
    for node_no, code, at in connection.execute(text(statement)):
        changes.setdefault(node_no, []).append((code, at))
    views = nodes_by_number(connection, numbers)
    has_children = "EXISTS (SELECT 1 FROM nodes AS children WHERE children.parent_id = nodes.id)"
    statement = f"SELECT id, no, CASE WHEN {has_children} THEN 1 ELSE 0 END AS parent FROM nodes WHERE no IN ({listed})"  # noqa: S608 - our own words and whole numbers
    rows = {bytes(row.id): row for row in connection.execute(text(statement))}
    return {
        rows[view.id].no: _node(view, changes.get(rows[view.id].no, ()), now, has_children=bool(rows[view.id].parent))
        for view in views
    }


def _node(view: NodeView, changes: Iterable[tuple[int, int]], now: int, *, has_children: bool) -> TimelineNode:
    spans, errors, ended_at = spans_of(view.created_at, changes, now)
    return TimelineNode(
        id=id_text(view.id),
        parent_id=None if view.parent_id is None else id_text(view.parent_id),
        user_id=id_text(view.user_id),
        name=view.name,
        created_at=view.created_at,
        ended_at=ended_at,
        spans=spans,
        errors=errors,
        has_children=has_children,
    )


def spans_of(created_at: int, changes: Iterable[tuple[int, int]], now: int) -> tuple[list[Span], list[int], int | None]:
    """Spans, times of failed attempts, and the end of a node; from the codes and times of its status changes."""
    spans: list[Any] = []
    errors: list[int] = []
    kind: str | None = "waits"
    since, ended_at = created_at, None

    def turn(next_kind: str | None, at: int) -> None:
        nonlocal kind, since
        if next_kind == kind:
            return
        if kind is not None and at > since:
            spans.append(Span(kind=kind, from_=since, to=at))
        kind, since = next_kind, max(since, at)

    for code, at in changes:
        if code < states.SERVER_CODES:
            if code in _AT_WORK:
                turn("worker", at)
            elif code == states.ERRORED_CODE:
                errors.append(at)
            continue
        server = ServerStatus(code - states.SERVER_CODES)
        turn(_KIND_OF.get(server), at)
        ended_at = at if server in CLOSED else None
    turn(None, max(now, since))
    return spans, errors, ended_at
