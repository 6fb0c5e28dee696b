"""Rows of workflows and nodes: the columns that a batch reads of those that exist, and a new node's."""

from __future__ import annotations

from typing import Any, NamedTuple

from backbeat.gateway.projection.storage import states
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


def new_node_row(number: int, node: Node, workflow_no: int, user_key: int) -> dict[str, Any]:
    """The row of a node that the table does not have."""
    return {
        "no": number,
        "id": node.id,
        "workflow_no": workflow_no,
        "user_key": user_key,
        "name_key": states.name_key(node.user_id, node.name),
        "created": node.created_at,
        "seq": node.seq,
        "parent_id": node.parent_id,
        "tid_key": states.tid_key(node.tid) if node.tid else None,
    }
