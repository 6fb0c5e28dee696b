"""Deactivation ahead of the records: whether a mark that stands above a node already makes it deactivated.

A cancel, reset or "deactivate previous" of many nodes goes through them in slices. Its mark is set at once, so a node
that the slices have not reached yet counts as deactivated from the first command on.
"""

from __future__ import annotations

from backbeat.schemas.messages.status import ServerStatus
from backbeat.streams.core.records import Node, Workflow
from backbeat.streams.core.store import Store
from backbeat.streams.core.tables import NODES

#: Node -> the newest mark of its own and of what is above it, as long as none is set.
Marks = dict[bytes, int]


def is_deactivated(store: Store, node: Node, workflow: Workflow, marks: Marks | None = None) -> bool:
    """Whether the node is deactivated, by its record or by a mark. Looks above it only while a sweep is going on."""
    if node.server is ServerStatus.DEACTIVATED or node.seq < workflow.watermark:
        return True
    return workflow.sweeps > 0 and is_below_mark(store, node, {} if marks is None else marks)


def is_left_over(node: Node, workflow: Workflow | None) -> bool:
    """Whether the node's workflow was removed, and the node, slice by slice, is about to be.

    The workflow that is there by now is another one of the same subject. A workflow is removed some time after its last
    node was made (`removal`), and time never steps back: so the node is older than the other one.
    """
    return workflow is None or node.created_at < workflow.created_at


def is_below_mark(store: Store, node: Node, marks: Marks) -> bool:
    """Whether an ancestor's cancel or reset was after this node was made.

    Costs the way up to the first ancestor whose mark is known: nodes that are looked at together share it.
    """
    path, mark, parent_id = [], 0, node.parent_id
    while parent_id is not None:
        known = marks.get(parent_id)
        if known is not None:
            mark = known
            break
        parent = store.get(NODES, parent_id)
        assert parent is not None, "a child without its parent"
        path.append(parent)
        parent_id = parent.parent_id
    for parent in reversed(path):
        mark = marks[parent.id] = max(mark, parent.deactivate_below)
    return node.seq < mark
