"""Deactivation ahead of the records, as the engine's point reads have it (streams/core/tree/deactivation.py).

A cancel, reset or "deactivate previous" of many nodes goes through them in slices, each a command of its own. A search
after the reply to such a call must find all of them deactivated, also those whose records do not show it yet.
"""

from __future__ import annotations

from backbeat.gateway.projection.following.failures import forget
from backbeat.gateway.projection.following.statements import Rows, Statements
from backbeat.gateway.projection.storage import rows, states, tables
from backbeat.schemas.messages.status import ServerStatus


def settle(statements: Statements, workflow_no: int, watermark: int) -> list[tuple[int, int]]:
    """Deactivate nodes below a mark of the workflow; (state before, state after) of each."""
    nodes = statements.select(
        tables.nodes, "workflow_no", [workflow_no], "no", "id", "parent_id", "seq", "state", "deactivate_below"
    )
    marks: dict[bytes, int] = {}  # highest mark of a node and its ancestors
    transitions: list[tuple[int, int]] = []
    updates: Rows = []
    failed: list[int] = []
    for node in sorted(nodes, key=lambda row: row.seq):  # A parent is older than its children.
        mark_above = marks.get(node.parent_id, 0) if node.parent_id is not None else 0
        marks[node.id] = max(mark_above, node.deactivate_below)
        is_below = node.seq < max(mark_above, watermark)
        if is_below and states.server_of(node.state) is not ServerStatus.DEACTIVATED:
            state_after = rows.deactivated(node.state)
            transitions.append((node.state, state_after))
            updates.append({"b_no": node.no, "state": state_after})
            if states.has_failed(node.state):
                failed.append(node.no)
    statements.run(statements.deactivate, updates)
    forget(statements, failed)
    return transitions
