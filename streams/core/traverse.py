"""Traversal of a workflow's nodes, by their pointers."""

from __future__ import annotations

from collections.abc import Iterator

from backbeat.streams.core.records import Node, Workflow
from backbeat.streams.core.store import Store
from backbeat.streams.core.tables import NODES


class RemovedError(Exception):
    """A workflow or node was removed while it was read: commands pass between the parts of a long answer."""


def walk(
    store: Store, workflow: Workflow, *, top_level_only: bool = False, after: Node | None = None
) -> Iterator[Node]:
    """The nodes of a workflow, parents before children; all, or those behind the node `after`.

    Nodes added while it is read may or may not be seen. RemovedError: the workflow is removed while it is read.
    """
    stack = [workflow.first_child] if after is None else _behind(store, after, top_level_only=top_level_only)
    while stack:
        node_id = stack.pop()
        if node_id is None:
            continue
        node = store.get(NODES, node_id)
        if node is None:
            raise RemovedError(f"The workflow {workflow.id.hex()} was removed while it was read")
        stack.append(node.next_sibling)
        if not top_level_only:
            stack.append(node.first_child)
        yield node


def _behind(store: Store, node: Node, *, top_level_only: bool) -> list[bytes | None]:
    """The nodes that a walk has still to visit behind this one: the next one last."""
    stack = [] if top_level_only else [node.first_child]
    ancestor: Node | None = node
    while ancestor is not None:
        stack.append(ancestor.next_sibling)
        ancestor = None if ancestor.parent_id is None else store.get(NODES, ancestor.parent_id)
    if top_level_only:
        # From a node below the top, the walk goes on behind its top-level ancestor.
        return stack[-1:]
    return stack[::-1]
