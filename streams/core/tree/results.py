"""A client's results: new status and children of a node."""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages.commands import AddChildren, ChangeNode
from backbeat.schemas.messages.replies import Done, Made, Reason, Rejection
from backbeat.streams.core.checks import check_response, check_retry_after
from backbeat.streams.core.records import Flow, Node
from backbeat.streams.core.step import Step, refuse, require_own_node
from backbeat.streams.core.tree import progress, status
from backbeat.streams.core.tree.create import add_children
from backbeat.streams.core.tree.failures import client_error, is_running

STATUS_WORDS = {
    "processing": "processing",
    "deciding": "processing",
    "completed": "completed",
    "deciding_complete": "completed",
    "errored": "errored",
    "resolved": "resolved",
    "shutdown": "shutdown",
    "deactivated": "deactivated",
    "canceled": "canceled",
}


def change_node(step: Step, command: ChangeNode) -> None:
    """Set a new client status, and add the children of the command."""
    node = require_own_node(step, command.node_id)
    change = STATUS_WORDS.get(command.status)
    if change is None:
        message = f"Unknown status change {command.status}"
        raise refuse(Reason.UNKNOWN_STATUS, message, found=command.status, wanted=", ".join(STATUS_WORDS))
    if _is_late(step, node, command.attempt):
        return
    check_response(step, command.response)
    check_retry_after(command.retry_after_seconds)
    _, are_new = add_children(step, node, command.children)
    if not are_new or node.server is status.DEACTIVATED:
        step.reply(Done(changed=False))
        return
    _set_status(step, node, change, command)
    step.reply(Done())


def _is_late(step: Step, node: Node, attempt: int | None) -> bool:
    """True for a worker's result of an attempt that is over or answered; it is ignored."""
    if attempt is None or is_running(node, attempt):
        return False
    step.ignore(f"a result of attempt {attempt}, which is over")
    step.reply(Done(changed=False))
    return True


def _set_status(step: Step, node: Node, change: str, command: ChangeNode) -> None:
    response = command.response
    match change:
        case "processing":
            step.check_client(node, status.CLIENT_PROCESSING)
            step.set_client(node, status.CLIENT_PROCESSING)
            progress.renew_deadline(step, node)
        case "completed":
            progress.client_done(step, node, status.CLIENT_COMPLETE, response)
            if command.returns is not None:
                _return(step, node, command.returns)
            if command.gives_up:
                step.hooks.follow_ups.gives_up(step, node)
            progress.children_ready(step, node)
        case "errored":
            client_error(step, node, response, command)
        case "resolved":
            step.hooks.follow_ups.decided(step, node)
            progress.client_done(step, node, status.CLIENT_RESOLVED, response)
            progress.children_ready(step, node)
        case "shutdown":
            step.hooks.follow_ups.decided(step, node)
            progress.shut_down(step, node, response)
        case "deactivated":
            if node.server is status.SENT_TO_CLIENT:
                progress.renew_deadline(step, node)
            progress.deactivate_previous(step, node)
        case "canceled" if command.compensate and _is_compensated(node):
            step.hooks.follow_ups.compensate(step, node)
        case "canceled":
            step.deactivate(node)
            progress.schedule_later(step, step.parent(node))
            progress.reset(step, node)
        case _:
            raise AssertionError(f"no status has the word {change}")


def _is_compensated(node: Node) -> bool:
    """True for a node below which something may have been done. Refused: a node that is complete."""
    if node.server is status.COMPLETE:
        message = (
            f"{node.name!r} is complete: it is too late to cancel it. What to do: signal an activity that undoes what "
            "it did, or cancel it without compensate"
        )
        raise refuse(Reason.INVALID_SERVER_STATUS, message, found="complete", wanted="a node that is not complete")
    return node.server is status.PROCESSING_CHILDREN


def _return(step: Step, node: Node, child_id: bytes) -> None:
    """Give a node the result of a child. Refused: a node that is not its child, or that it does not wait for."""
    child = step.get_node(child_id)
    if child is None or child.parent_id != node.id or child.mode is status.FIRE_AND_FORGET:
        message = f"{node.name!r} returns the result of {child_id.hex()}, which is no child that it waits for"
        raise refuse(Reason.INVALID_PARAMETERS, message, found="another node", wanted="a child of the node")
    node.flow = msgspec.structs.replace(node.flow or Flow(), returns=child_id)


def children_added(step: Step, command: AddChildren) -> None:
    """Add children to a node."""
    node = require_own_node(step, command.node_id)
    if _is_late(step, _runner(step, node, command.attempt_of), command.attempt):
        return
    child_ids, _ = add_children(step, node, command.children)
    step.reply(Made(child_ids))


def _runner(step: Step, node: Node, node_id: bytes | None) -> Node:
    """The node whose attempt adds children to a node. Refused, as not found: another client's or workflow's."""
    if node_id is None:
        return node
    runner, caller = step.get_node(node_id), step.command.user_id
    if runner is None or runner.workflow_id != node.workflow_id or caller not in (None, runner.user_id):
        message = f"No node of the workflow has the id {node_id.hex()}"
        raise refuse(Reason.NOT_FOUND, message, found="nothing", wanted="a node")
    return step.node(node_id)


def on_refused(step: Step, rejection: Rejection) -> None:
    """A worker's result is refused: a client error of its node, since the worker hears of it in no other way."""
    command = step.command
    if isinstance(command, (ChangeNode, AddChildren)) and command.attempt is not None:
        runner_id = command.attempt_of if isinstance(command, AddChildren) else None
        fail_node(step, runner_id or command.node_id, rejection, command.attempt)


def fail_node(refused: Step, node_id: bytes, rejection: Rejection, attempt: int | None = None) -> None:
    """Turn a refusal into a client error of a running node. `attempt` null: the node's own."""
    if rejection.reason not in (Reason.LIMIT_EXCEEDED, Reason.INVALID_PARAMETERS):
        return
    silent_command = msgspec.structs.replace(refused.command, reply_to=None, body_hash=None, tid="")
    step = Step(refused.transaction, silent_command, refused.now, refused.hooks)
    node = step.enter_node(node_id)
    if node is not None and not _is_late(step, node, node.attempt if attempt is None else attempt):
        client_error(step, node, msgspec.json.encode({"error": {"message": rejection.message}}))
        progress.run(step)  # A node on the way may have been deactivated, and its takers with it.
        refused.effects += step.finish()
