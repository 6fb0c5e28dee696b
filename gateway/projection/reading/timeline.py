"""Timeline of a workflow: spans of its nodes from their status changes, and the path that took longest.

A page costs what its nodes' changes cost; the path one walk over the workflow's nodes.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from backbeat.gateway.api.shapes.timeline import Span, Timeline, TimelineNode
from backbeat.gateway.projection.reading.search import nodes_by_number
from backbeat.gateway.projection.storage import facts, states
from backbeat.gateway.projection.storage.database import is_postgresql
from backbeat.payload.values import id_text
from backbeat.schemas.messages.status import CLOSED, ClientStatus, ServerStatus
from backbeat.schemas.messages.views import NodeView

#: Changes of a node that are looked at, the first ones: a node that is tried for a year has thousands.
CHANGES_MAX = 500
_LEVELS_MAX = 50
_SERVER_MASK = 0xF
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


def timeline(
    connection: Connection, workflow_id: bytes, below: bytes | None, after: bytes | None, limit: int
) -> Timeline | None:
    """The nodes right below a node, or at the top; None: the workflow is not in the projection (yet)."""
    number = connection.execute(text("SELECT no FROM workflows WHERE id = :id"), {"id": workflow_id}).scalar()
    if number is None:
        return None
    now = facts.now_ms()
    parent = "parent_id IS NULL" if below is None else "parent_id = :below"
    behind = "" if after is None else " AND seq > (SELECT seq FROM nodes WHERE id = :after)"
    statement = f"SELECT no FROM nodes WHERE workflow_no = :no AND {parent}{behind} ORDER BY seq LIMIT :count"  # noqa: S608 - our own words
    rows = connection.execute(text(statement), {"no": number, "below": below, "after": after, "count": limit + 1})
    numbers = list(rows.scalars())
    last = _last_children(connection, number)
    path = _path(last)
    nodes = _nodes(connection, [*numbers[:limit], *path], last.keys(), now)
    shown = [nodes[node_no] for node_no in numbers[:limit] if node_no in nodes]
    return Timeline(
        at=now,
        nodes=shown,
        next=shown[-1].id if len(numbers) > limit and shown else None,
        critical_path=[nodes[node_no] for node_no in path if node_no in nodes],
    )


def _last_children(connection: Connection, workflow_no: int) -> dict[bytes | None, tuple[int, bytes]]:
    """Number and id of the child that ended last, by parent."""
    closed = ", ".join(str(int(server)) for server in CLOSED)
    # An open node ends after all that are closed; of several the one that was made first has been open longest.
    rank = f"CASE WHEN state & {_SERVER_MASK} IN ({closed}) THEN last_at ELSE {_OPEN} - seq END"
    # Each database has a way without sorting all nodes: the one takes the columns of the row that has the maximum.
    if is_postgresql(connection):
        columns, end = "DISTINCT ON (parent_id) parent_id, no, id", f"ORDER BY parent_id, {rank} DESC"
    else:
        columns, end = f"parent_id, no, id, MAX({rank})", "GROUP BY parent_id"
    statement = f"SELECT {columns} FROM nodes WHERE workflow_no = :no {end}"  # noqa: S608 - our own words and whole numbers
    return {
        None if row.parent_id is None else bytes(row.parent_id): (row.no, bytes(row.id))
        for row in connection.execute(text(statement), {"no": workflow_no})
    }


def _path(last: Mapping[bytes | None, tuple[int, bytes]]) -> list[int]:
    """Numbers of the nodes of the critical path, from the top down."""
    path: list[int] = []
    parent: bytes | None = None
    while len(path) < _LEVELS_MAX and parent in last:
        number, parent = last[parent]
        path.append(number)
    return path


def _nodes(
    connection: Connection, numbers: Sequence[int], parents: Container[bytes | None], now: int
) -> dict[int, TimelineNode]:
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
    numbers_of = _numbers_of(connection, listed)
    return {
        numbers_of[view.id]: _node(view, changes.get(numbers_of[view.id], ()), now, has_children=view.id in parents)
        for view in views
    }


def _numbers_of(connection: Connection, listed: str) -> dict[bytes, int]:
    statement = text(f"SELECT no, id FROM nodes WHERE no IN ({listed})")  # noqa: S608 - whole numbers
    return {bytes(row.id): row.no for row in connection.execute(statement)}


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
