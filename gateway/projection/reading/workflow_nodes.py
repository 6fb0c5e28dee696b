"""Nodes of given workflows by state."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, text

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


def newest_number(connection: Connection) -> int:
    """Number of the newest workflow: it grows with each that is made."""
    number: int | None = connection.execute(text("SELECT MAX(no) FROM workflows")).scalar_one()
    return number or 0
