"""Undos: what was done below a node is undone, the newest first, when a step is given up or the node is canceled.

It begins once nothing below the node is open. Its children are looked through, parents before their children, and each
one that was done gets a node for its undo, below one node that holds them all. An undo waits for the one of the node
behind it: so they run in reverse.
"""

from __future__ import annotations

from msgspec.structs import replace

from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.status import CLOSED, ServerStatus
from backbeat.schemas.messages.values import FollowUp, FollowUpKind, NewNode, Task, TaskKind
from backbeat.streams.core.follow_ups import added
from backbeat.streams.core.records import Flow, FollowUps, Node
from backbeat.streams.core.step import Step
from backbeat.streams.core.store import Store
from backbeat.streams.core.tables import NODES, REFERENCES
from backbeat.streams.core.takes.produced import newest_first
from backbeat.streams.core.takes.records import Reference
from backbeat.streams.core.tree import progress, status
from backbeat.streams.core.tree.create import make_node
from backbeat.streams.core.tree.deactivation import is_deactivated

_NAME = "Undo"
_DONE = (status.CLIENT_COMPLETE, status.CLIENT_RESOLVED)


def cancel(step: Step, node: Node) -> None:
    """Cancel a node that waits for its children: they are deactivated at once, and it is once they are undone."""
    above = node.follow_ups or added.NONE
    if above.is_canceled:
        # Its undos are under way.
        return
    begin = node.first_active_child
    progress.reset(step, node)
    node.follow_ups = replace(above, undo_due=above.has_undos, undo_from=begin, is_canceled=True, is_undoing=False)
    progress.schedule_later(step, node)


def begun(step: Step, node: Node) -> bool:
    """True for a node below which nothing is open, and that does not complete: it undoes, or is deactivated."""
    follow_ups = node.follow_ups
    assert follow_ups is not None, "a node that nothing follows"
    if follow_ups.is_undoing:
        return True
    if follow_ups.undo_due and not follow_ups.has_undos:
        node.follow_ups = follow_ups = replace(follow_ups, undo_due=False)
    if follow_ups.undo_due:
        begin = follow_ups.undo_from or node.first_active_child
        walks = follow_ups.undo_walks + 1
        node.follow_ups = replace(follow_ups, undo_due=False, undo_from=None, is_undoing=True, undo_walks=walks)
        step.tasks.append(Task(TaskKind.UNDO, node.id, begin, walks))
        return True
    if follow_ups.is_canceled:
        step.deactivate(node)
        progress.schedule_later(step, step.parent(node))
        return True
    return False


def walk(step: Step, task: Task) -> None:
    """Add the undos of the nodes below one; then start the newest."""
    holder, cursor = step.node(task.id), task.cursor
    follow_ups = holder.follow_ups
    assert follow_ups is not None, "a node that nothing follows"
    if holder.server is not status.PROCESSING_CHILDREN or not follow_ups.is_undoing:
        return
    if task.mark != follow_ups.undo_walks:
        # The rest of a walk in whose place a cancel has begun another one.
        return
    group_id = added.node_id(holder, b"undos" + follow_ups.undo_walks.to_bytes(4, "big"))
    while cursor is not None:
        if not step.may_go_on(task, cursor):
            return
        enters = _looks_below(step, _stored(step, cursor), holder, group_id)
        # Read once more: the node of the undos may be its next sibling now.
        cursor = _next(step, _stored(step, cursor), holder, enters=enters)
    holder.follow_ups = replace(follow_ups, is_undoing=False)
    group = _group(step, group_id)
    if group is not None and group.server is status.PENDING:
        progress.make_ready(step, group)
    progress.schedule_later(step, holder)


def _looks_below(step: Step, node: Node, holder: Node, group_id: bytes) -> bool:
    """Add a node's undo. True where it has none, and those of the nodes below it are wanted."""
    if node.mode is status.FIRE_AND_FORGET or _holds_undos(node):
        return False
    follow_up = added.wanted(node, FollowUpKind.UNDO)
    if follow_up is None:
        return node.follow_ups is not None and node.follow_ups.has_undos
    if not _was_done(step.transaction, node):
        return True
    if not _is_undone(step, node):
        _add(step, node, holder, group_id, follow_up)
    return False


def _holds_undos(node: Node) -> bool:
    """True for a node that holds undos. The handler of a failure is added, too, and its children may be steps."""
    return node.type == "flag" and node.follow_ups is not None and node.follow_ups.is_added


def _was_done(store: Store, node: Node) -> bool:
    """True when a node was completed, whatever became of it since."""
    if node.client not in _DONE or node.server not in CLOSED:
        return False
    return node.server is status.COMPLETE or any(map(_is_completion, newest_first(store, node)))


def _is_completion(change: StatusChange) -> bool:
    return change.server and change.to_status is ServerStatus.COMPLETE


def _is_undone(step: Step, node: Node) -> bool:
    """True when a node was undone, or is about to be: its undo was not deactivated before it was done."""
    undo_id = None if node.follow_ups is None else node.follow_ups.undo
    undo = None if undo_id is None else step.transaction.get(NODES, undo_id)
    if undo is None:
        return False
    return _was_done(step.transaction, undo) or not is_deactivated(step.transaction, undo, step.workflow, step.marks)


def _add(step: Step, node: Node, holder: Node, group_id: bytes, follow_up: FollowUp) -> None:
    group = _group(step, group_id)
    if group is None:
        new = NewNode(name=_NAME, user_id=holder.user_id, type="flag")
        group = make_node(step, holder, new, group_id, tid=holder.tid)
        group.follow_ups = FollowUps(is_added=True)
    if group.server is status.DEACTIVATED:
        return
    before = None if group.last_child is None else step.get_node(group.last_child)
    undo = added.add(step, group, node, follow_up, mark=group_id, mode=status.NON_BLOCKING)
    added.give(step, undo, node, None)
    if before is not None:
        _wait(step, before, undo)
    done = step.get_node(node.id)
    assert done is not None, "a node that was read"
    done.follow_ups = replace(done.follow_ups or added.NONE, undo=undo.id)


def _group(step: Step, group_id: bytes) -> Node | None:
    """The node that holds the undos, as it is now: a reset may have come between the slices. Null: none yet."""
    return None if step.get_node(group_id) is None else step.node(group_id)


def _wait(step: Step, before: Node, undo: Node) -> None:
    """The undo of an older node waits for that of a newer one, whatever becomes of it."""
    reference = Reference(undo.id, of_children=False, default=b"null")
    step.transaction.add(REFERENCES, (before.id, 1), reference)
    before.flow = replace(before.flow or Flow(), taken=2, missing=1)
    undo.flow = replace(undo.flow or Flow(), first_taker=before.id, first_slot=1, last_taker=before.id, last_slot=1)


def _next(step: Step, node: Node, holder: Node, *, enters: bool) -> bytes | None:
    """The node to be looked at after this one."""
    if enters and node.first_active_child is not None:
        return node.first_active_child
    while node.next_sibling is None:
        if node.parent_id is None or node.parent_id == holder.id:
            return None
        node = _stored(step, node.parent_id)
    return node.next_sibling


def _stored(step: Step, node_id: bytes) -> Node:
    node = step.transaction.get(NODES, node_id)
    assert node is not None, "a pointer to a node that is not stored"
    return node
