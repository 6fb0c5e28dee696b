"""Nodes of workflows that were removed (`retention`): a late repeat of the signal that made one makes nothing."""

from __future__ import annotations

from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import CloseLink, Signal
from backbeat.schemas.messages.replies import Reason
from backbeat.streams.core.effects import Send
from backbeat.streams.core.step import Step, refuse
from backbeat.streams.core.tables import NODES, TOMBSTONES, WORKFLOWS
from backbeat.streams.core.tree.deactivation import is_left_over


def was_removed(step: Step, node_id: bytes) -> bool:
    """Whether there was such a node at the top of a workflow that was removed, as far as that is remembered."""
    transaction = step.transaction
    node = transaction.get(NODES, node_id)
    if node is not None:
        return is_left_over(node, transaction.get(WORKFLOWS, node.workflow_id))
    return transaction.meta.removed > 0 and transaction.get(TOMBSTONES, node_id) is not None


def refuse_repeat(step: Step, command: Signal) -> None:
    """A signal that was taken before its workflow was removed makes nothing; where nobody waits, nobody is told."""
    if command.reply_to is not None:
        message = "This signal was taken before; its workflow was finished and has been removed"
        raise refuse(Reason.NOT_FOUND, message, found="a workflow that was removed", wanted="a signal of another id")
    step.ignore("a repeat: its node was removed")
    if command.link_open and command.node.parent_link_id is not None:
        child_id = ids.node_id(command.workflow_id, command.id, 0)
        close = CloseLink(id=command.id, tid=command.tid, target_id=command.node.parent_link_id, child_id=child_id)
        step.effects.append(Send(close))
