"""Deletion of rows of removed nodes and workflows."""

from __future__ import annotations

from collections import Counter
from typing import Any

from backbeat.gateway.projection.following.failures import forget
from backbeat.gateway.projection.following.statements import Rows, Statements
from backbeat.gateway.projection.following.table_rows import name_row
from backbeat.gateway.projection.storage import states, tables

#: Shorter texts are not in the text index.
TEXT_MIN = 3


def delete_nodes(statements: Statements, numbers: list[int]) -> list[Any]:
    """Delete the rows of nodes; those of each that counts are made of."""
    columns = "no", "workflow_no", "parent_id", "seq", "name_key", "state"
    deleted = statements.select(tables.nodes, "no", numbers, *columns)
    bodies = statements.select(tables.node_bodies, "no", numbers, "no", "metadata")
    statements.drop_texts("node_texts", _texts(bodies))
    forget(statements, [row.no for row in deleted if states.has_failed(row.state)])
    statements.delete(tables.status_changes, "node_no", numbers)
    statements.delete(tables.node_bodies, "no", numbers)
    statements.delete(tables.nodes, "no", numbers)
    return deleted


def delete_workflows(statements: Statements, names: list[tuple[int, int, int]]) -> None:
    """Delete the rows of workflows without nodes, by (number, user key, name key)."""
    numbers = [number for number, _, _ in names]
    statements.drop_texts("workflow_texts", _texts(statements.select(tables.workflows, "no", numbers, "no", "subject")))
    counts = Counter((user, name) for _, user, name in names)
    statements.run(statements.add_names, [name_row(*key, b"", -count) for key, count in counts.items()])
    statements.delete(tables.workflow_states, "workflow_no", numbers)
    statements.delete(tables.workflows, "no", numbers)


def _texts(columns: list[Any]) -> Rows:
    """Number and text of rows in the text index."""
    return [{"no": number, "words": text} for number, text in columns if len(text) >= TEXT_MIN]
