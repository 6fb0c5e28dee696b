"""Deactivation ahead of the records, as the engine's point reads have it (streams/core/tree/deactivation.py).

A cancel, reset or "deactivate previous" of many nodes goes through them in slices, each a command of its own. A search
after the reply to such a call must find all of them deactivated, also those whose records do not show it yet.

A mark is applied once, in the batch that brings it, to every node below it; a later batch looks only at nodes of its
own, and at what is above them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from backbeat.gateway.projection.following.failures import forget
from backbeat.gateway.projection.following.statements import Rows, Statements
from backbeat.gateway.projection.storage import rows, states, tables
from backbeat.schemas.messages.status import ServerStatus

#: Columns of a node that decide whether it is deactivated.
_COLUMNS = ("no", "id", "parent_id", "workflow_no", "name_key", "seq", "state", "deactivate_below")


class Transition(NamedTuple):
    """A node that has come from one state to another."""

    workflow_no: int
    parent_id: bytes | None
    seq: int
    name_key: int
    state_before: int
    state_after: int


def deactivate_older(statements: Statements, workflow_no: int, watermarks: tuple[int, int]) -> list[Transition]:
    """Deactivate the nodes of a workflow whose watermark was raised from the first to the second."""
    nodes = statements.nodes_between(workflow_no, watermarks, *_COLUMNS)
    return _deactivate(statements, nodes)


def deactivate_below_marks(statements: Statements, node_ids: list[bytes], root_ids: list[bytes]) -> list[Transition]:
    """Deactivate those of the nodes that are below a mark, and whatever is so below the roots, which are some of them.

    Roots are new, or have a newer mark: what the tables have below them has not seen it.
    """
    nodes = {node.id: node for node in statements.select(tables.nodes, "id", node_ids, *_COLUMNS)}
    marks = _marks_of_ancestors(statements, nodes)
    below = [node for node in nodes.values() if node.seq < marks.get(node.parent_id, 0)]
    level = [nodes[identity] for identity in root_ids]
    while level:
        # A mark above counts for whatever is below.
        for node in level:
            marks[node.id] = max(marks.get(node.parent_id, 0), node.deactivate_below)
        parent_ids = [node.id for node in level if marks[node.id]]
        level = statements.select(tables.nodes, "parent_id", parent_ids, *_COLUMNS)
        below += [node for node in level if node.seq < marks[node.parent_id]]
    return _deactivate(statements, below)


def _marks_of_ancestors(statements: Statements, nodes: dict[bytes, Any]) -> dict[bytes, int]:
    """Highest mark of each ancestor of the nodes and of what is above it."""
    ancestors: dict[bytes, Any] = {}
    wanted = {node.parent_id for node in nodes.values() if node.parent_id is not None}
    while wanted:
        level = statements.select(tables.nodes, "id", list(wanted), *_COLUMNS)
        ancestors.update((node.id, node) for node in level)
        wanted = {node.parent_id for node in level if node.parent_id is not None} - ancestors.keys()
    marks: dict[bytes, int] = {}
    for node in sorted(ancestors.values(), key=lambda row: row.seq):  # A parent is older than its children.
        marks[node.id] = max(marks.get(node.parent_id, 0), node.deactivate_below)
    return marks


def deactivate_all_below_marks(statements: Statements, workflow_no: int) -> list[Transition]:
    """Deactivate all nodes of a workflow that are below a mark."""
    marks: dict[bytes, int] = {}
    below = []
    nodes = statements.select(tables.nodes, "workflow_no", [workflow_no], *_COLUMNS)
    for node in sorted(nodes, key=lambda row: row.seq):  # A parent is older than its children.
        mark_above = marks.get(node.parent_id, 0)
        marks[node.id] = max(mark_above, node.deactivate_below)
        if node.seq < mark_above:
            below.append(node)
    return _deactivate(statements, below)


def _deactivate(statements: Statements, nodes: Iterable[Any]) -> list[Transition]:
    transitions: list[Transition] = []
    updates: Rows = []
    failed: list[int] = []
    for node in {node.no: node for node in nodes}.values():
        if states.server_of(node.state) is not ServerStatus.DEACTIVATED:
            state_after = rows.deactivated(node.state)
            transitions.append(
                Transition(node.workflow_no, node.parent_id, node.seq, node.name_key, node.state, state_after)
            )
            updates.append({"b_no": node.no, "state": state_after})
            if states.has_failed(node.state):
                failed.append(node.no)
    statements.run(statements.deactivate, updates)
    forget(statements, failed)
    return transitions
