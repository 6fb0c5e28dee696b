"""Rows that go: of nodes and workflows that were removed."""

from __future__ import annotations

from typing import Any

from backbeat.gateway.projection.following.statements import Rows, Statements
from backbeat.gateway.projection.storage import tables

#: Shorter texts are in no index of texts.
TEXT_MIN = 3


def delete_nodes(statements: Statements, numbers: list[int]) -> list[Any]:
    """Delete the rows of nodes; of each its workflow's number and its state, as they were."""
    found = statements.select(tables.nodes, "no", numbers, "workflow_no", "state")
    bodies = statements.select(tables.node_bodies, "no", numbers, "no", "metadata")
    statements.drop_texts("node_texts", _texts(bodies))
    statements.delete(tables.status_changes, "node_no", numbers)
    statements.delete(tables.node_bodies, "no", numbers)
    statements.delete(tables.nodes, "no", numbers)
    return found


def delete_workflows(statements: Statements, names: list[tuple[int, int, int]]) -> None:
    """Delete the rows of workflows, which have no nodes any more: number, key of the user, key of the name."""
    numbers = [number for number, _, _ in names]
    statements.drop_texts("workflow_texts", _texts(statements.select(tables.workflows, "no", numbers, "no", "subject")))
    fewer = [{"user_key": user, "name_key": name, "name": b"", "workflows": -1} for _, user, name in names]
    statements.run(statements.add_names, fewer)
    statements.delete(tables.workflow_states, "workflow_no", numbers)
    statements.delete(tables.workflows, "no", numbers)


def _texts(found: list[Any]) -> Rows:
    """Number and text of those that are in an index of texts."""
    return [{"no": number, "words": text} for number, text in found if len(text) >= TEXT_MIN]
