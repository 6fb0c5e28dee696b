"""Deactivation ahead of the records, as the engine's point reads see it (streams/core/tree/deactivation.py).

A cancel, reset or "deactivate previous" of many nodes goes through them in slices, each a command of its own. A search
that follows the answer to such a call must find all of them deactivated, also those whose records do not say so yet.
"""

from __future__ import annotations

from backbeat.gateway.projection.following.statements import Rows, Statements
from backbeat.gateway.projection.storage import rows, states, tables
from backbeat.schemas.messages.status import ServerStatus


def settle(statements: Statements, workflow_no: int, watermark: int) -> list[tuple[int, int]]:
    """Deactivate what stands below a mark of the workflow; the states before and after, node by node."""
    found = statements.select(
        tables.nodes, "workflow_no", [workflow_no], "no", "id", "parent_id", "seq", "state", "deactivate_below"
    )
    marks: dict[bytes, int] = {}  # for what is below a node: the highest mark of it and all above it
    moved: list[tuple[int, int]] = []
    changed: Rows = []
    for node in sorted(found, key=lambda row: row.seq):  # A parent is older than its children.
        above = marks.get(node.parent_id, 0) if node.parent_id is not None else 0
        marks[node.id] = max(above, node.deactivate_below)
        is_below = node.seq < max(above, watermark)
        if is_below and states.server_of(node.state) is not ServerStatus.DEACTIVATED:
            after = rows.deactivated(node.state)
            moved.append((node.state, after))
            changed.append({"b_no": node.no, "state": after})
    statements.run(statements.update_states, changed)
    return moved
