"""Deactivation by marks, ahead of the records of the nodes below.

A cancel, reset or "deactivate previous" of many nodes goes through them in slices. Its mark is set at once, so a node
that the slices have not reached yet counts as deactivated from the first command on.
"""

from __future__ import annotations

from backbeat.streams.core.records import Node, Workflow
from backbeat.streams.core.store import Store
from backbeat.streams.core.tables import NODES
from backbeat.streams.core.tree import status

#: Node id -> the newest mark of the node and its ancestors; cleared when a mark is set.
Marks = dict[bytes, int]


def is_deactivated(store: Store, node: Node, workflow: Workflow, marks: Marks | None = None) -> bool:
    """True when a node is deactivated, by its record or by a mark. Reads its ancestors only during a sweep."""
    if node.server is status.DEACTIVATED or node.seq < workflow.watermark:
        return True
    return workflow.sweeps > 0 and is_below_mark(store, node, {} if marks is None else marks)


def belongs_to_removed_workflow(node: Node, workflow: Workflow | None) -> bool:
    """True when the node's workflow was removed; the node itself is removed in a later slice.

    A stored workflow of the same id is then a newer one. A workflow is removed some time after its last node was
    created (`removal`), and time never steps back: so the node is older than the newer workflow.
    """
    return workflow is None or node.created_at < workflow.created_at


def is_below_mark(store: Store, node: Node, marks: Marks) -> bool:
    """True when an ancestor was canceled or reset after this node was created.

    Reads ancestors up to the first one in `marks`: nodes that are read together share them.
    """
    path, mark, parent_id = [], 0, node.parent_id
    while parent_id is not None:
        known_mark = marks.get(parent_id)
        if known_mark is not None:
            mark = known_mark
            break
        parent = store.get(NODES, parent_id)
        assert parent is not None, "a child without its parent"
        path.append(parent)
        parent_id = parent.parent_id
    for parent in reversed(path):
        mark = marks[parent.id] = max(mark, parent.deactivate_below)
    return node.seq < mark
