"""Cancels that an activity follows: a node at the top of the workflow.

What is above the canceled node may be canceled as well.
"""

from __future__ import annotations

from backbeat.schemas.messages.status import CLOSED, ServerStatus
from backbeat.schemas.messages.values import FollowUpKind, Task, TaskKind
from backbeat.streams.core.follow_ups import added
from backbeat.streams.core.records import FollowUps, Node
from backbeat.streams.core.step import Step
from backbeat.streams.core.tree import progress, status


def deactivated(step: Step, node: Node, before: ServerStatus) -> None:
    """A node was deactivated: where it had begun, and was not complete, what follows its cancel is added."""
    if node.follow_ups is None or before in CLOSED or not node.attempt:
        return
    if added.wanted(node, FollowUpKind.CANCEL) is not None:
        step.tasks.append(Task(TaskKind.FOLLOW_CANCEL, node.id))


def run(step: Step, task: Task) -> None:
    """Add the activity that follows a cancel, and start it: it waits for no signal before it."""
    node = step.node(task.id)
    follow_up = added.wanted(node, FollowUpKind.CANCEL)
    assert follow_up is not None, "a cancel that nothing follows"
    step.budget -= 1
    following = added.add(step, None, node, follow_up, mark=b"", mode=status.NON_BLOCKING)
    following.follow_ups = FollowUps(is_added=True)
    progress.start_now(step, following)
