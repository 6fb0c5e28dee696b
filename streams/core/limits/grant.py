"""A slot is granted: the node that has waited for it starts."""

from __future__ import annotations

from backbeat.schemas.messages.commands import GrantSlot
from backbeat.schemas.messages.status import ServerStatus
from backbeat.streams.core.step import Step
from backbeat.streams.core.tree import progress


def granted(step: Step, command: GrantSlot) -> None:
    """There is room: the node starts, unless it is not to start any more; then the slot goes back."""
    node = step.enter_node(command.node_id)
    if (
        node is None
        or node.server is not ServerStatus.STARTED
        or (node.slot, node.slot_number) != (command.pool_id, command.number)
    ):
        # What it had was released where its status changed.
        step.ignore("a slot for a node that no longer waits for it")
        return
    if step.workflow.paused:
        progress.pause(step, node)
    else:
        node.granted_at = step.now
        progress.send(step, node)
