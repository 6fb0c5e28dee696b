"""Operator commands: retry now, reset, schedule next of a node; complete, pause, resume of a workflow."""

from __future__ import annotations

from backbeat.schemas.messages.commands import ChangeWorkflow, ResetNode, RestartNode, ScheduleNode
from backbeat.schemas.messages.replies import Done, Reason
from backbeat.schemas.messages.values import Task, TaskKind
from backbeat.streams.core.records import Node
from backbeat.streams.core.step import Step, not_allowed, refuse, require_own_node, require_own_workflow
from backbeat.streams.core.tree import progress, status
from backbeat.streams.core.tree.failures import retry
from backbeat.streams.core.tree.progress import reschedule


def restart(step: Step, command: RestartNode) -> None:
    """Retry now (behaviour document, section 4, "Retry")."""
    node = require_own_node(step, command.node_id)
    if node.server is status.DEACTIVATED:
        step.reply(Done(changed=False))
        return
    if node.client is status.CLIENT_READY and node.server is status.ERRORED:
        node.fires_at = step.now
        step.set_server(node, status.READY)
        reschedule(step, node)
    else:
        if node.client is status.CLIENT_PENDING and not _parent_is_done(step, node):
            raise not_allowed(Reason.INVALID_CLIENT_STATUS, "client", "pending", "ready")
        step.check(node, status.CLIENT_READY, status.READY)
        node.handed_back = 0
        retry(step, node, fires_at=step.now)
    step.reply(Done())


def _parent_is_done(step: Step, node: Node) -> bool:
    """True when the parent's client has completed: before that no child may begin."""
    assert node.parent_id is not None, "a signal is never pending"
    return step.node(node.parent_id).server in (status.PROCESSING_CHILDREN, status.COMPLETE)


def reset(step: Step, command: ResetNode) -> None:
    """Deactivate everything below a node."""
    node = require_own_node(step, command.node_id)
    is_alive = node.server is not status.DEACTIVATED
    if is_alive:
        progress.reset(step, node)
    step.reply(Done(changed=is_alive))


def schedule(step: Step, command: ScheduleNode) -> None:
    """Schedule next of a node."""
    node = require_own_node(step, command.node_id)
    is_alive = node.server is not status.DEACTIVATED
    if is_alive:
        progress.schedule_later(step, node)
    step.reply(Done(changed=is_alive))


def change_workflow(step: Step, command: ChangeWorkflow) -> None:
    """Complete, pause or resume a workflow."""
    identity = command.workflow_id
    workflow = require_own_workflow(step.enter(identity), identity, command.user_id)
    match command.change:
        case "complete":
            workflow.complete = True
        case "pause":
            workflow.paused = True
        case "resume":
            workflow.paused = False
            step.tasks.append(Task(TaskKind.RESUME, workflow.id))
        case other:
            message = f"A workflow cannot be told to {other}"
            raise refuse(Reason.INVALID_PARAMETERS, message, found=other, wanted="complete, pause or resume")
    workflow.updated_at = step.now
    step.reply(Done())
