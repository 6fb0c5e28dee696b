"""Failures that an activity handles: a child of the node whose retries are exhausted, with the error as its argument.

Once it is complete the node is resolved, with the child's result; or, where the child gives up, shut down. Where the
child fails too, the node stays a failed one.
"""

from __future__ import annotations

from msgspec.structs import replace

from backbeat.schemas.messages.activities import error_of
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.status import CLOSED
from backbeat.schemas.messages.values import FollowUpKind
from backbeat.streams.core.follow_ups import added
from backbeat.streams.core.records import FollowUps, Node
from backbeat.streams.core.step import Step, refuse
from backbeat.streams.core.takes.produced import has_result, result_of
from backbeat.streams.core.tree import progress, status


def exhausted(step: Step, node: Node, response: bytes | None) -> None:
    """The retries of a node are exhausted: add its handler. Children of the attempt that failed are dropped."""
    follow_up = added.wanted(node, FollowUpKind.FAILURE)
    if follow_up is None or node.server is not status.RETRIES_EXHAUSTED:
        # Nothing follows, or the parent allows the failure: it counts as done.
        return
    progress.reset(step, node)
    mark = node.attempt.to_bytes(8, "big")
    handler = added.add(step, node, node, follow_up, mark=mark, mode=status.BLOCKING)
    handler.follow_ups = FollowUps(is_added=True)
    added.give(step, handler, node, error_of(response))
    node.follow_ups = replace(node.follow_ups or added.NONE, handler=handler.id)
    progress.make_ready(step, handler)
    progress.schedule_later(step, node)


def give_up(step: Step, handler: Node) -> None:
    """The handler of a failure is complete, and gives up. Refused: a node that is none."""
    parent = None if handler.parent_id is None else step.get_node(handler.parent_id)
    if parent is None or parent.follow_ups is None or parent.follow_ups.handler != handler.id:
        message = (
            f"{handler.name!r} gives up, and no failure is handled by it: only the activity that follows a failure "
            "(on_failure) can give up"
        )
        raise refuse(Reason.INVALID_PARAMETERS, message, found="another activity", wanted="the handler of a failure")
    handler.follow_ups = replace(handler.follow_ups or added.NONE, gives_up=True)


def handled(step: Step, node: Node) -> None:
    """Resolve or shut down a failed node whose handler is complete."""
    follow_ups = node.follow_ups
    if follow_ups is None or follow_ups.handler is None:
        return
    handler = step.node(follow_ups.handler)
    if handler.server is not status.COMPLETE or handler.client is status.CLIENT_SHUTDOWN:
        return
    response = result_of(step.transaction, handler) if has_result(step.transaction, handler) else None
    if handler.follow_ups is not None and handler.follow_ups.gives_up:
        progress.shut_down(step, node, response)
        _shut_groups(step, node)
    else:
        progress.client_done(step, node, status.CLIENT_RESOLVED, response)
        progress.children_ready(step, node)


def decided(step: Step, node: Node) -> None:
    """An operator resolves or shuts down a failed node: its handler is deactivated."""
    follow_ups = node.follow_ups
    if follow_ups is None or follow_ups.handler is None:
        return
    handler = step.node(follow_ups.handler)
    if handler.server not in CLOSED:
        step.deactivate(handler)
        progress.reset(step, handler)


def _shut_groups(step: Step, node: Node) -> None:
    """A member of a group gives up: what stands behind the group does not run."""
    while node.mode is not status.FIRE_AND_FORGET and node.parent_id is not None:
        node = step.node(node.parent_id)
        if node.type != "flag" or node.server is not status.PROCESSING_CHILDREN:
            return
        progress.shut_siblings(step, node)


def gave_up(step: Step, node: Node) -> None:
    """A node is shut down: those that wait for it know, and what its parent has done is to be undone.

    A flag only groups: the parent is the one above it. What the engine has added is no step of anything above it.
    """
    is_step = True
    while True:
        follow_ups = node.follow_ups or added.NONE
        if follow_ups.given_up and not is_step:
            return
        node.follow_ups = replace(follow_ups, given_up=True)
        if node.parent_id is None or node.mode is status.FIRE_AND_FORGET or follow_ups.is_added:
            return
        parent = step.get_node(node.parent_id)
        assert parent is not None, "a child without its parent"
        if is_step and parent.type != "flag":
            is_step = False
            if parent.server is status.PROCESSING_CHILDREN:
                # Also where nothing can be undone yet: steps beside this one may still add what can.
                parent.follow_ups = replace(parent.follow_ups or added.NONE, undo_due=True)
        node = parent
