"""Rows of workflows and nodes: the columns that a batch reads of those that exist, and a new node's."""

from __future__ import annotations

from typing import Any, NamedTuple

from backbeat.gateway.projection.storage import rows, states
from backbeat.streams.core.records import Node


class WorkflowRow(NamedTuple):
    """The columns of a workflow's row that a batch needs."""

    no: int
    user_key: int
    name_key: int
    created: int
    watermark: int
    sweeps: int


class NodeRow(NamedTuple):
    """The columns of a node's row that a batch needs."""

    no: int
    state: int
    chunk: int
    chunk_changes: int
    last_at: int
    deactivate_below: int


def name_row(user_key: int, name_key: int, name: bytes, workflows: int = 0) -> dict[str, Any]:
    """The row of a name that so many more workflows have; a batch has one of each name."""
    return {"user_key": user_key, "name_key": name_key, "name": name, "workflows": workflows}


def new_node_row(row: NodeRow, node: Node, workflow_no: int, user_key: int, rest: bytes) -> tuple[Any, ...]:
    """The row of a node that the table does not have, in the order of its columns."""
    return (
        row.no,
        node.id,
        workflow_no,
        user_key,
        states.name_key(node.user_id, node.name),
        node.created_at,
        node.seq,
        node.parent_id,
        states.tid_key(node.tid) if node.tid else None,
        rows.pool_key(node, row.state),
        row.state,
        row.last_at,
        row.chunk,
        row.chunk_changes,
        row.deactivate_below,
        rest,
    )
