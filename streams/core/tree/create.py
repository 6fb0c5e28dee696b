"""Creation of workflows and nodes (behaviour document, sections 1, 2 and 5)."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import CreateWorkflow, OpenLink, Signal
from backbeat.schemas.messages.replies import Made, Reason
from backbeat.schemas.messages.values import PRIORITY_DEFAULT, Coalesce, NewNode, NewWorkflow
from backbeat.streams.core.checks import check_node, check_text, check_workflow, timeout_of
from backbeat.streams.core.effects import Send, node_view, workflow_view
from backbeat.streams.core.idempotency import load_reply, store_reply
from backbeat.streams.core.records import Node, Workflow
from backbeat.streams.core.step import Step, refuse
from backbeat.streams.core.tables import COALESCE_INDEX, STORED_REPLIES
from backbeat.streams.core.tree import gone, status
from backbeat.streams.core.tree.coalesce import reindex, still_waits
from backbeat.streams.core.tree.deactivation import belongs_to_removed_workflow
from backbeat.streams.core.tree.links import follow_waits, open_child_link, tell_closed
from backbeat.streams.core.tree.progress import make_ready, reset, schedule_later

_T = TypeVar("_T")


def create_workflow(step: Step, command: CreateWorkflow) -> None:
    """Find or create a workflow, and answer with it."""
    step.reply(workflow_view(make_workflow(step, command.workflow)))


def make_workflow(step: Step, new: NewWorkflow, expected_id: bytes | None = None) -> Workflow:
    """The workflow of this user, name and subject; a new one where none is stored.

    `expected_id`: its id by the sender. Another one is refused: it may belong to another partition.
    """
    identity = ids.workflow_id(new.user_id, new.name, new.subject)
    if expected_id is not None and expected_id != identity:
        message = f"The id of the workflow is {identity.hex()}, by its user, name and subject, not {expected_id.hex()}"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=expected_id.hex(), wanted=identity.hex())
    stored = step.enter(identity)
    if stored is not None:
        return stored
    check_workflow(step, new)
    workflow = Workflow(
        id=identity,
        user_id=new.user_id,
        name=new.name,
        subject=new.subject,
        decider=new.decider,
        created_at=step.now,
        updated_at=step.now,
    )
    step.make(workflow)
    return workflow


def add_signal(step: Step, command: Signal, *, is_followed: bool = False) -> None:
    """Add a top-level node, ready at once; then schedule next of the workflow.

    `is_followed`: its link was followed along the waits of other workflows, and closes no cycle.
    """
    if command.node.parent_link_id is not None and not command.link_open:
        # The link is opened first, at its target, which sends the signal on. One that is too large is refused here:
        # wrapped in the other command it would be larger still.
        if command.workflow is not None:
            check_workflow(step, command.workflow)
        check_node(step, command.node)
        node_id = ids.node_id(command.workflow_id, command.id, 0)
        link = OpenLink(
            id=command.id,
            tid=command.tid,
            reply_to=command.reply_to,
            target_id=command.node.parent_link_id,
            child_id=node_id,
            signal=command,
        )
        step.effects.append(Send(link))
        return
    node_id = ids.node_id(command.workflow_id, command.id, 0)
    stored_node = step.get_node(node_id)
    if gone.was_removed(step, node_id):
        gone.refuse_repeat(step, command)
        return
    if command.workflow is None:
        workflow = step.enter(command.workflow_id)
    else:
        workflow = make_workflow(step, command.workflow, command.workflow_id)
    if workflow is None or (command.user_id is not None and command.user_id != workflow.user_id):
        message = f"No workflow has the id {command.workflow_id.hex()}"
        raise refuse(Reason.NOT_FOUND, message, found="nothing", wanted="a workflow")
    if stored_node is not None:
        step.ignore("a repeat: its node is there")
        step.reply(node_view(stored_node, workflow))
        return
    if command.coalesce_key is not None and _was_dropped(step, command):
        return
    if workflow.complete:
        message = "The workflow is complete and takes no more signals"
        raise refuse(Reason.WORKFLOW_COMPLETE, message, found="complete", wanted="a workflow that is not complete")
    if command.node.parent_link_id is not None and workflow.waits and not is_followed and follow_waits(step, command):
        return
    if command.coalesce_key is not None and _coalesce(step, command):
        return
    node = _add(step, None, _as_signal(command.node), 0)
    node.server, node.client = status.READY, status.CLIENT_READY
    node.coalesce_key = command.coalesce_key or ""
    reindex(step, node)
    step.reply(node_view(node, workflow))
    schedule_later(step, workflow)


def _as_signal(new: NewNode) -> NewNode:
    """The node of a signal: always blocking and a decision."""
    if new.mode is status.BLOCKING and new.type == "decision":
        return new
    return msgspec.structs.replace(new, mode=status.BLOCKING, type="decision")


def _was_dropped(step: Step, command: Signal) -> bool:
    """Answer a repeat of a dropped signal from its stored reply: it has no node. True: answered."""
    answer = step.transaction.get(STORED_REPLIES, command.id)
    if answer is None:
        return False
    reply = load_reply(answer)
    if not isinstance(reply, Made):
        step.reply(reply)
        return True
    if answer.body_hash:
        message = "This id is that of another command, which was given a key"
        raise refuse(Reason.KEY_REUSED, message, found="children that were added", wanted="an id of its own")
    remaining = step.get_node(reply.ids[0])
    if remaining is None or belongs_to_removed_workflow(remaining, step.workflow):
        gone.refuse_repeat(step, command)
        return True
    step.ignore("a repeat: another signal stands for it")
    step.reply(node_view(remaining, step.workflow))
    return True


def _coalesce(step: Step, command: Signal) -> bool:
    """Merge with a waiting signal of the same key. True: the waiting one remains, and this one is answered."""
    key = command.coalesce_key
    assert key is not None
    check_text("coalesce_key", key, step.settings.name_bytes_max)
    check_node(step, command.node)
    workflow = step.workflow
    entry = step.transaction.get(COALESCE_INDEX, (workflow.id, key))
    waiting = None if entry is None else step.node(entry.node_id)
    if waiting is None or not still_waits(waiting):
        return False
    if command.coalesce is Coalesce.REPLACE:
        step.deactivate(waiting)
        schedule_later(step, workflow)
        reset(step, waiting)
        return False
    step.ignore("a signal of its coalesce_key still waits and stands for it")
    if command.body_hash is None:
        reply = Made((waiting.id,))
        store_reply(step.transaction, command.id, b"", reply, step.now)
    if command.link_open and command.node.parent_link_id is not None:
        tell_closed(step, command.node.parent_link_id, ids.node_id(workflow.id, command.id, 0))
    step.reply(node_view(waiting, workflow))
    return True


def child_ids(step: Step, count: int) -> tuple[bytes, ...]:
    """The ids of the nodes that the command creates."""
    return tuple(ids.node_id(step.workflow.id, step.command.id, index) for index in range(count))


def is_repeat(step: Step) -> bool:
    """True when the nodes that the command creates are stored already."""
    return step.get_node(ids.node_id(step.workflow.id, step.command.id, 0)) is not None


def add_children(step: Step, parent: Node, children: tuple[NewNode, ...]) -> None:
    """Add children to a node, all or none."""
    limit = step.settings.children_max
    if len(children) > limit:
        message = f"{len(children)} children in one command; children_max is {limit}. Send more in further commands"
        raise refuse(Reason.LIMIT_EXCEEDED, message, found=str(len(children)), wanted=f"children_max {limit}")
    if not children:
        return
    if parent.server is status.COMPLETE:
        message = "Cannot add children to a node that is complete"
        raise refuse(Reason.INVALID_SERVER_STATUS, message, found="complete", wanted="a node that is not complete")
    nodes = [_add(step, parent, child, index) for index, child in enumerate(children)]
    if parent.server is status.PROCESSING_CHILDREN:
        for node in nodes:
            make_ready(step, node)
        schedule_later(step, parent)


def _add(step: Step, parent: Node | None, new: NewNode, index: int) -> Node:
    check_node(step, new)
    depth = 1 if parent is None else parent.depth + 1
    if depth > step.settings.depth_max:
        limit = step.settings.depth_max
        message = (
            f"The node would be {depth} levels deep; depth_max is {limit}. Let the signal of another workflow, or "
            "siblings, go on with it; or have depth_max raised (backbeat settings set depth_max=…)"
        )
        raise refuse(Reason.LIMIT_EXCEEDED, message, found=str(depth), wanted=f"depth_max {limit}")
    workflow = step.workflow
    born_deactivated = parent is not None and parent.server is status.DEACTIVATED
    node = Node(
        id=ids.node_id(workflow.id, step.command.id, index),
        workflow_id=workflow.id,
        parent_id=None if parent is None else parent.id,
        user_id=new.user_id,
        name=new.name,
        mode=new.mode,
        type=new.type,
        seq=workflow.next_seq,
        depth=depth,
        created_at=step.now,
        fires_at=step.now if new.fires_at is None else new.fires_at,
        client_data=new.client_data,
        metadata=new.metadata,
        parent_link_id=new.parent_link_id,
        retry_interval_seconds=new.retry_interval_seconds,
        retries_remaining=new.retries,
        timeout_seconds=timeout_of(step, new.client_data),
        priority=_inherited(new.priority, parent, "priority", PRIORITY_DEFAULT),
        fairness_key=_inherited(new.fairness_key, parent, "fairness_key", ""),
        server=status.DEACTIVATED if born_deactivated else status.PENDING,
        client=status.CLIENT_PENDING,
        tid=step.command.tid,
    )
    workflow.next_seq += 1
    step.add(node)
    if new.parent_link_id is not None and parent is not None and not born_deactivated:
        open_child_link(step, node, new.parent_link_id)
    return node


def _inherited(own_value: _T | None, parent: Node | None, name: str, default: _T) -> _T:
    """A child's own value, else its parent's, else the default."""
    if own_value is not None:
        return own_value
    value: _T = default if parent is None else getattr(parent, name)
    return value
