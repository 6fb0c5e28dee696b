"""GrantSlot: the waiting node is sent to its client."""

from __future__ import annotations

from backbeat.schemas.messages.commands import GrantSlot
from backbeat.schemas.messages.status import ServerStatus
from backbeat.streams.core.step import Step
from backbeat.streams.core.tree import progress


def granted(step: Step, command: GrantSlot) -> None:
    """Send the node that has its slot now; a node that no longer waits for it is left alone."""
    node = step.enter_node(command.node_id)
    if (
        node is None
        or node.server is not ServerStatus.STARTED
        or (node.slot, node.slot_number) != (command.pool_id, command.number)
    ):
        # Its slot was released where its status changed.
        step.ignore("a slot for a node that no longer waits for it")
        return
    if step.workflow.paused:
        progress.pause(step, node)
    else:
        node.granted_at = step.now
        progress.send(step, node)
