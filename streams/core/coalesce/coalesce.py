"""Coalescing: a signal merges with one of the same workflow and coalesce_key that still waits.

An index has the waiting signal of each key. It is updated whenever such a node is created, sent or closed.
"""

from __future__ import annotations

from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import Signal
from backbeat.schemas.messages.replies import Made, Reason
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.values import Coalesce
from backbeat.streams.core import gone
from backbeat.streams.core.checks import check_node, check_text
from backbeat.streams.core.coalesce.records import CoalesceIndex
from backbeat.streams.core.effects import node_view
from backbeat.streams.core.idempotency import load_reply, store_reply
from backbeat.streams.core.records import Node
from backbeat.streams.core.step import Step, refuse
from backbeat.streams.core.tables import COALESCE_INDEX, STORED_REPLIES
from backbeat.streams.core.tree import status
from backbeat.streams.core.tree.deactivation import belongs_to_removed_workflow
from backbeat.streams.core.tree.progress import reset, schedule_later

_WAITS = frozenset({status.READY, status.STARTED, status.PAUSED})


def still_waits(node: Node) -> bool:
    """True when a signal was never sent to its client: it waits for another node, or for its time."""
    return node.attempt == 0 and node.server in _WAITS


def reindex(step: Step, node: Node, _: ServerStatus | None = None) -> None:
    """Put or delete the index entry of a node's coalesce_key. Leaves another node's entry untouched."""
    if not node.coalesce_key:
        return
    transaction, key = step.transaction, (node.workflow_id, node.coalesce_key)
    if still_waits(node):
        transaction.put(COALESCE_INDEX, key, CoalesceIndex(node_id=node.id))
    else:
        waiting = transaction.get(COALESCE_INDEX, key)
        if waiting is not None and waiting.node_id == node.id:
            transaction.delete(COALESCE_INDEX, key)


def answer_dropped(step: Step, command: Signal) -> bool:
    """Answer a repeat of a dropped signal from its stored reply: it has no node. True: answered."""
    answer = None if command.coalesce_key is None else step.transaction.get(STORED_REPLIES, command.id)
    if answer is None:
        return False
    reply = load_reply(answer)
    if not isinstance(reply, Made):
        step.reply(reply)
        return True
    if answer.body_hash:
        message = "This id is that of another command, which was given a key"
        raise refuse(Reason.KEY_REUSED, message, found="children that were added", wanted="an id of its own")
    remaining = step.get_node(reply.ids[0])
    if remaining is None or belongs_to_removed_workflow(remaining, step.workflow):
        gone.refuse_repeat(step, command)
        return True
    step.ignore("a repeat: another signal stands for it")
    step.reply(node_view(remaining, step.workflow))
    return True


def merge(step: Step, command: Signal) -> bool:
    """Merge with a waiting signal of the same key. True: the waiting one remains, and this one is answered."""
    key = command.coalesce_key
    if key is None:
        return False
    check_text("coalesce_key", key, step.settings.name_bytes_max)
    check_node(step, command.node)
    workflow = step.workflow
    entry = step.transaction.get(COALESCE_INDEX, (workflow.id, key))
    waiting = None if entry is None else step.node(entry.node_id)
    if waiting is None or not still_waits(waiting):
        return False
    if command.coalesce is Coalesce.REPLACE:
        step.deactivate(waiting)
        schedule_later(step, workflow)
        reset(step, waiting)
        return False
    step.ignore("a signal of its coalesce_key still waits and stands for it")
    if command.body_hash is None:
        store_reply(step.transaction, command.id, b"", Made((waiting.id,)), step.now)
    if command.link_open and command.node.parent_link_id is not None:
        step.close_link(command.node.parent_link_id, ids.node_id(workflow.id, command.id, 0))
    step.reply(node_view(waiting, workflow))
    return True
