"""Nodes of given workflows by state: counts for many, and the nodes themselves of one."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, text

from backbeat.gateway.projection.reading.search import nodes_by_number
from backbeat.gateway.projection.storage import states
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.views import NodeView

_STATES = text(
    "SELECT w.id, s.state, s.nodes FROM workflows AS w JOIN workflow_states AS s ON s.workflow_no = w.no"
    " WHERE w.id IN :ids AND s.nodes > 0"
).bindparams(bindparam("ids", expanding=True))


def states_of_workflows(connection: Connection, workflow_ids: Sequence[bytes]) -> dict[bytes, dict[int, int]]:
    """Workflow id -> state -> number of nodes; a workflow without nodes is not in it."""
    nodes: dict[bytes, dict[int, int]] = {}
    if workflow_ids:
        for identity, state, count in connection.execute(_STATES, {"ids": list(workflow_ids)}):
            nodes.setdefault(bytes(identity), {})[state] = count
    return nodes


def nodes_of_workflow(
    connection: Connection, workflow_id: bytes, servers: Sequence[ServerStatus], count: int
) -> list[NodeView]:
    """The first nodes of a workflow at these server statuses, in the order of their creation."""
    of_workflow = states_of_workflows(connection, [workflow_id]).get(workflow_id, {})
    listed = ", ".join(str(state) for state in of_workflow if states.server_of(state) in servers)
    if not listed:
        return []
    statement = (
        "SELECT n.no FROM nodes AS n JOIN workflows AS w ON w.no = n.workflow_no"  # noqa: S608 - whole numbers
        f" WHERE w.id = :id AND n.state IN ({listed}) ORDER BY n.seq LIMIT :count"
    )
    numbers = connection.execute(text(statement), {"id": workflow_id, "count": count}).scalars()
    return nodes_by_number(connection, list(numbers))
