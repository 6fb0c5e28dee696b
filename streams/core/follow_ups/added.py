"""Nodes that the engine adds for an activity that follows another node."""

from __future__ import annotations

from msgspec.structs import replace

from backbeat.schemas.messages import ids
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.status import Mode
from backbeat.schemas.messages.values import FollowUp, FollowUpKind, NewNode
from backbeat.streams.core.records import Flow, FollowUps, Node
from backbeat.streams.core.step import Step, refuse
from backbeat.streams.core.tables import REFERENCES
from backbeat.streams.core.takes.records import Reference, ReferenceState
from backbeat.streams.core.tree.create import make_node

NONE = FollowUps()


def follow(step: Step, node: Node, follow_ups: tuple[FollowUp, ...]) -> None:
    """Keep the activities that follow a new node; the nodes above one that can be undone know of it."""
    node.follow_ups = FollowUps(wanted=follow_ups)
    if wanted(node, FollowUpKind.UNDO) is None:
        return
    if node.parent_id is None:
        message = f"{node.name!r} is a signal: no step of anything, so nothing undoes it. Give undo to its children"
        raise refuse(Reason.INVALID_PARAMETERS, message, found="undo", wanted="failure or cancel")
    parent_id: bytes | None = node.parent_id
    while parent_id is not None:
        parent = step.get_node(parent_id)
        assert parent is not None, "a child without its parent"
        above = parent.follow_ups or NONE
        if above.has_undos:
            break
        parent.follow_ups = replace(above, has_undos=True)
        parent_id = parent.parent_id


def wanted(node: Node, kind: FollowUpKind) -> FollowUp | None:
    """The activity of a kind that follows a node; null: none does."""
    if node.follow_ups is not None:
        for follow_up in node.follow_ups.wanted:
            if follow_up.kind is kind:
                return follow_up
    return None


def add(step: Step, parent: Node | None, node: Node, follow_up: FollowUp, *, mark: bytes, mode: Mode) -> Node:
    """The node for an activity that follows `node`, below a parent or at the top. `mark` tells it from others."""
    new = NewNode(
        name=follow_up.name,
        user_id=follow_up.user_id,
        mode=mode,
        client_data=follow_up.client_data,
        retry_interval_seconds=follow_up.retry_interval_seconds,
        retries=follow_up.retries,
        backoff=follow_up.backoff,
        priority=node.priority,
        fairness_key=node.fairness_key,
    )
    return make_node(step, parent, new, node_id(node, follow_up.kind.encode() + mark), tid=node.tid)


def node_id(node: Node, mark: bytes) -> bytes:
    """The id of a node that follows another one."""
    return ids.node_id(node.workflow_id, ids.command_id(node.id, mark), 0)


def give(step: Step, taker: Node, producer: Node, default: bytes | None) -> None:
    """Give a new node, at slot 0, the result of a node; or a value in its place."""
    state = ReferenceState.THERE if default is None else ReferenceState.DEFAULT
    reference = Reference(producer.id, of_children=False, default=default, state=state)
    step.transaction.add(REFERENCES, (taker.id, 0), reference)
    taker.flow = Flow(taken=1)
