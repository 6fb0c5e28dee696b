"""Nodes of removed workflows (`retention`): a late repeat of their signal creates nothing."""

from __future__ import annotations

from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import Signal
from backbeat.schemas.messages.replies import Reason
from backbeat.streams.core.records import Node
from backbeat.streams.core.step import Step, refuse
from backbeat.streams.core.tables import NODES, TOMBSTONES, WORKFLOWS
from backbeat.streams.core.tree.deactivation import belongs_to_removed_workflow


def was_removed(step: Step, node_id: bytes) -> bool:
    """True for a top-level node of a removed workflow, while its tombstone is stored."""
    return _was_removed(step, node_id, step.transaction.get(NODES, node_id))


def _was_removed(step: Step, node_id: bytes, node: Node | None) -> bool:
    transaction = step.transaction
    if node is not None:
        return belongs_to_removed_workflow(node, transaction.get(WORKFLOWS, node.workflow_id))
    return transaction.meta.removed > 0 and transaction.get(TOMBSTONES, node_id) is not None


def is_repeat(step: Step, command: Signal, node_id: bytes, node: Node | None) -> bool:
    """Reject or ignore a signal whose node was removed. True: it was. `node`: the stored one."""
    if not _was_removed(step, node_id, node):
        return False
    refuse_repeat(step, command)
    return True


def refuse_repeat(step: Step, command: Signal) -> None:
    """Reject the repeat of a removed signal; ignore it where it has no return address."""
    if command.reply_to is not None:
        message = "This signal was taken before; its workflow was finished and has been removed"
        raise refuse(Reason.NOT_FOUND, message, found="a workflow that was removed", wanted="a signal of another id")
    step.ignore("a repeat: its node was removed")
    if command.link_open and command.node.parent_link_id is not None:
        step.close_link(command.node.parent_link_id, ids.node_id(command.workflow_id, command.id, 0))
