"""Failures that a node allows among its children: up to so many of them count as done when their retries are exhausted.

A join goes on without them. Each is deactivated at once, for good; those beyond the allowance wait for somebody, as any
node does. So the parent's record has two numbers, and its other children are never looked at.
"""

from __future__ import annotations

from msgspec.structs import replace

from backbeat.schemas.messages.status import ServerStatus
from backbeat.streams.core.records import Flow, Node
from backbeat.streams.core.step import Step
from backbeat.streams.core.tree import progress, status


def allow_failure(step: Step, node: Node, _: ServerStatus) -> None:
    """Let a node whose retries are exhausted count as done, where its parent allows that."""
    if node.parent_id is None or node.mode is status.FIRE_AND_FORGET:
        return
    parent = step.get_node(node.parent_id)
    assert parent is not None, "a child without its parent"
    flow = parent.flow
    if flow is None or flow.failures >= flow.failures_allowed:
        return
    parent = step.node(parent.id)
    if parent.server is not status.PROCESSING_CHILDREN:
        return
    parent.flow = replace(flow, failures=flow.failures + 1)
    node.flow = replace(node.flow or Flow(), is_allowed_failure=True)
    step.deactivate(node)
    progress.schedule_later(step, parent)
    progress.reset(step, node)


def is_allowed_failure(node: Node) -> bool:
    """True for a node that has failed for good, which its parent allows."""
    return node.flow is not None and node.flow.is_allowed_failure
