"""Creation of workflows and nodes (behaviour document, sections 1, 2 and 5)."""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import CreateWorkflow, Signal
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.status import Mode
from backbeat.schemas.messages.values import PRIORITY_DEFAULT, NewNode, NewWorkflow
from backbeat.streams.core.checks import check_node, check_workflow, timeout_of
from backbeat.streams.core.effects import node_view, workflow_view
from backbeat.streams.core.records import Awaiting, Flow, Node, Workflow
from backbeat.streams.core.step import Step, refuse, require_own_workflow
from backbeat.streams.core.tree import status
from backbeat.streams.core.tree.progress import make_ready, schedule_later, start_again


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


def add_signal(step: Step, command: Signal) -> None:
    """Add a top-level node, ready at once; then schedule next of the workflow."""
    hooks = step.hooks
    node_id = ids.node_id(command.workflow_id, command.id, 0)
    stored_node = step.get_node(node_id)
    for is_done in hooks.on_signal:
        if is_done(step, command, node_id, stored_node):
            return
    identity, new = command.workflow_id, command.workflow
    workflow = step.enter(identity) if new is None else make_workflow(step, new, identity)
    workflow = require_own_workflow(workflow, identity, command.user_id)
    if stored_node is not None:
        step.ignore("a repeat: its node is there")
        step.reply(node_view(stored_node, workflow))
        return
    for is_done_before in hooks.before_signal:
        if is_done_before(step, command):
            return
    mode = status.NON_BLOCKING if command.beside else status.BLOCKING
    node = _add(step, None, _as_signal(command.node, mode), node_id, command.coalesce_key or "")
    if step.has_reply:
        step.reply(node_view(node, workflow))
    if command.beside:
        start_again(step, node)
    schedule_later(step, workflow)


def refuse_complete(step: Step, _: Signal) -> bool:
    """Refuse a signal to a complete workflow. False: it can be added."""
    if step.workflow.complete:
        message = "The workflow is complete and takes no more signals"
        raise refuse(Reason.WORKFLOW_COMPLETE, message, found="complete", wanted="a workflow that is not complete")
    return False


def _as_signal(new: NewNode, mode: Mode) -> NewNode:
    """The node of a signal: a decision, and blocking unless it is beside the others."""
    if new.mode is mode and new.type == "decision":
        return new
    return msgspec.structs.replace(new, mode=mode, type="decision")


def add_children(step: Step, parent: Node, children: tuple[NewNode, ...]) -> tuple[tuple[bytes, ...], bool]:
    """Add children to a node, all or none. Their ids, and false where they were there already: a repeat."""
    workflow_id, command_id = step.workflow.id, step.command.id
    child_ids = tuple(ids.node_id(workflow_id, command_id, index) for index in range(len(children)))
    if not children:
        return child_ids, True
    # Of a parent without any child none need be looked for.
    if parent.last_child is not None and step.get_node(child_ids[0]) is not None:
        step.ignore("a repeat: its children are there")
        return child_ids, False
    limit = step.settings.children_max
    if len(children) > limit:
        message = f"{len(children)} children in one command; children_max is {limit}. Send more in further commands"
        raise refuse(Reason.LIMIT_EXCEEDED, message, found=str(len(children)), wanted=f"children_max {limit}")
    if parent.server is status.COMPLETE:
        message = "Cannot add children to a node that is complete"
        raise refuse(Reason.INVALID_SERVER_STATUS, message, found="complete", wanted="a node that is not complete")
    nodes = [_add(step, parent, child, identity) for child, identity in zip(children, child_ids, strict=True)]
    if parent.server is status.PROCESSING_CHILDREN:
        for node in nodes:
            make_ready(step, node)
        schedule_later(step, parent)
    return child_ids, True


def _add(step: Step, parent: Node | None, new: NewNode, identity: bytes, coalesce_key: str = "") -> Node:
    check_node(step, new)
    depth = 1 if parent is None else parent.depth + 1
    if depth > step.settings.depth_max:
        limit = step.settings.depth_max
        message = (
            f"The node would be {depth} levels deep; depth_max is {limit}. Let the signal of another workflow, or "
            "siblings, go on with it; or have depth_max raised (backbeat settings set depth_max=…)"
        )
        raise refuse(Reason.LIMIT_EXCEEDED, message, found=str(depth), wanted=f"depth_max {limit}")
    node = make_node(step, parent, new, identity, coalesce_key)
    if new.takes:
        step.hooks.take(step, node, new.takes)
    if new.follow_ups:
        step.hooks.follow_ups.follow(step, node, new.follow_ups)
    return node


def make_node(
    step: Step, parent: Node | None, new: NewNode, identity: bytes, coalesce_key: str = "", *, tid: str | None = None
) -> Node:
    """A new node below a parent or at the top, without the results that it takes. Nothing is checked."""
    workflow = step.workflow
    server, client, inherited_priority, inherited_key = status.READY, status.CLIENT_READY, PRIORITY_DEFAULT, ""
    if parent is not None:
        server = status.DEACTIVATED if parent.server is status.DEACTIVATED else status.PENDING
        client, inherited_priority, inherited_key = status.CLIENT_PENDING, parent.priority, parent.fairness_key
    node = Node(
        id=identity,
        workflow_id=workflow.id,
        parent_id=None if parent is None else parent.id,
        user_id=new.user_id,
        name=new.name,
        mode=new.mode,
        type=new.type,
        seq=workflow.next_seq,
        depth=1 if parent is None else parent.depth + 1,
        created_at=step.now,
        fires_at=step.now if new.fires_at is None else new.fires_at,
        client_data=new.client_data,
        metadata=new.metadata,
        parent_link_id=new.parent_link_id,
        retry_interval_seconds=new.retry_interval_seconds,
        retries_remaining=new.retries,
        backoff=new.backoff,
        retries=0 if new.backoff is None else new.retries,
        timeout_seconds=timeout_of(step, new.client_data),
        priority=inherited_priority if new.priority is None else new.priority,
        fairness_key=inherited_key if new.fairness_key is None else new.fairness_key,
        server=server,
        client=client,
        tid=step.command.tid if tid is None else tid,
        coalesce_key=coalesce_key,
    )
    if new.awaits is not None:
        node.awaits, node.retries_remaining, node.retries = Awaiting(new.awaits.default), 0, 0
    workflow.next_seq += 1
    step.add(node)
    for note_added in step.hooks.on_node:
        note_added(step, node)
    if new.failures_allowed:
        node.flow = Flow(failures_allowed=new.failures_allowed)
    return node
