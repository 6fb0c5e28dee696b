"""The place of a producer in the tree: before its taker, and no ancestor of it.

Where the ways down to the two part, the producer's branch is the older one. All that a node waits for then lies before
it in the tree's order or below such a node, whatever is added later: so nothing ever waits for itself.
"""

from __future__ import annotations

from backbeat.schemas.messages.replies import Reason
from backbeat.streams.core.records import Node
from backbeat.streams.core.step import Refused, Step, refuse
from backbeat.streams.core.tables import NODES

#: Levels between a producer and the node, or workflow, below which its way and its taker's part.
LEVELS_MAX = 1_000
#: Names of a path in an error, at most, and characters of each.
_NAMES_MAX = 8
_NAME_CHARACTERS = 60


def check_position(step: Step, taker: Node, producer: Node) -> None:
    """Refuse a producer that does not come before its taker."""
    if producer.id == taker.id:
        raise _misplaced(step, taker, producer, "which is the node itself")
    if producer.parent_id == taker.parent_id:
        # A taker is the newest of its siblings.
        return
    branches = _branches(step, taker)
    if producer.id in branches:
        raise _misplaced(step, taker, producer, "which is above it, and is not complete before it")
    parent_id, seq, levels = _meeting(step, branches, producer)
    if levels >= LEVELS_MAX:
        raise _misplaced(step, taker, producer, f"which is more than {LEVELS_MAX} levels below what they share")
    if seq > branches[parent_id]:
        raise _misplaced(step, taker, producer, "which comes after it")


def _meeting(step: Step, branches: dict[bytes, int], producer: Node) -> tuple[bytes, int, int]:
    """The ancestor that a producer shares with the takers, the seq of its branch there, and the levels in between.

    The ways up that the command has gone are remembered: results of nodes far below are taken by many.
    """
    meetings, node, way = step.meetings, producer, list[bytes]()
    while (meeting := meetings.get(node.id)) is None:
        parent_id = node.parent_id or node.workflow_id
        if parent_id in branches:
            meeting = meetings[node.id] = parent_id, node.seq, 0
            break
        if len(way) == LEVELS_MAX:
            return parent_id, node.seq, LEVELS_MAX
        way.append(node.id)
        node = _stored(step, parent_id)
    parent_id, seq, levels = meeting
    for node_id in reversed(way):
        levels += 1
        meetings[node_id] = parent_id, seq, levels
    return parent_id, seq, levels


def _branches(step: Step, taker: Node) -> dict[bytes, int]:
    """The ancestors of a taker, its workflow included -> the seq of their child on the way down to it.

    All nodes that a command adds have the same parent: its way up is gone once.
    """
    branches = step.branches
    if not branches:
        node = taker
        while node.parent_id is not None:
            branches[node.parent_id] = node.seq
            node = _stored(step, node.parent_id)
        branches[taker.workflow_id] = node.seq
    branches[taker.parent_id or taker.workflow_id] = taker.seq
    return branches


def _stored(step: Step, node_id: bytes) -> Node:
    node = step.transaction.get(NODES, node_id)
    assert node is not None, "a child without its parent"
    return node


def _misplaced(step: Step, taker: Node, producer: Node, problem: str) -> Refused:
    message = (
        f"{_path(step, taker)} takes the result of {_path(step, producer)} ({producer.id.hex()}), {problem}: it would "
        "never start. A result is taken of a node that comes before the taker in the tree. Nothing is added"
    )
    return refuse(Reason.INVALID_PARAMETERS, message, found=problem, wanted="a node that comes before it")


def _path(step: Step, node: Node) -> str:
    names: list[str] = []
    current: Node | None = node
    while current is not None:
        if len(names) == _NAMES_MAX:
            names.append("…")
            break
        names.append(current.name[:_NAME_CHARACTERS])
        current = None if current.parent_id is None else _stored(step, current.parent_id)
    return " > ".join(repr(name) if name != "…" else name for name in reversed(names))
