"""Nodes of given workflows: by state, and what has happened to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, text

from backbeat.gateway.projection.storage import rows, states
from backbeat.schemas.messages.status import ClientStatus, ServerStatus, word

_STATES = text(
    "SELECT w.id, s.state, s.nodes FROM workflows AS w JOIN workflow_states AS s ON s.workflow_no = w.no"
    " WHERE w.id IN :ids AND s.nodes > 0"
).bindparams(bindparam("ids", expanding=True))

# Each node has changed once at least: so many nodes are enough.
_CHANGES = text(
    "SELECT n.id, b.body, c.code, c.at FROM (SELECT no, id, seq FROM nodes"
    " WHERE workflow_no = (SELECT no FROM workflows WHERE id = :id) ORDER BY seq LIMIT :count) AS n"
    " JOIN node_bodies AS b ON b.no = n.no JOIN status_changes AS c ON c.node_no = n.no"
    " ORDER BY n.seq, c.ordinal LIMIT :count"
)


def states_of_workflows(connection: Connection, workflow_ids: Sequence[bytes]) -> dict[bytes, dict[int, int]]:
    """Workflow id -> state -> number of nodes; a workflow without nodes is not in it."""
    nodes: dict[bytes, dict[int, int]] = {}
    if workflow_ids:
        for identity, state, count in connection.execute(_STATES, {"ids": list(workflow_ids)}):
            nodes.setdefault(bytes(identity), {})[state] = count
    return nodes


class Change(NamedTuple):
    """A status change of a node."""

    at: int
    node_id: bytes
    name: str
    #: `server` or `client`: whose status it is.
    machine: str
    status: str


def changes_of_workflow(connection: Connection, workflow_id: bytes, count: int) -> list[Change]:
    """Status changes of a workflow's nodes, by time: at most so many, those of the nodes that were made first."""
    changes = [
        Change(row.at, bytes(row.id), rows.decode_node_body(row.body).name, *_status_of(row.code))
        for row in connection.execute(_CHANGES, {"id": workflow_id, "count": count})
    ]
    return sorted(changes, key=lambda change: change.at)


def _status_of(code: int) -> tuple[str, str]:
    """Machine and status of a change's code."""
    if code >= states.SERVER_CODES:
        return "server", word(ServerStatus(code - states.SERVER_CODES))
    return "client", word(ClientStatus(code))


def newest_number(connection: Connection) -> int:
    """Number of the newest workflow: it grows with each that is made."""
    number: int | None = connection.execute(text("SELECT MAX(no) FROM workflows")).scalar_one()
    return number or 0
