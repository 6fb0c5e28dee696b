"""Activities that follow a node (docs/explanation/failures.md): its failure, its undo, its cancel."""

from __future__ import annotations

import sys

from backbeat.compose.verify.avro import Command
from backbeat.compose.verify.rules import progress
from backbeat.compose.verify.rules.checks import INVALID, Refused, timeout_of
from backbeat.compose.verify.rules.tree import (
    ANY_RESPONSE,
    BLOCKING,
    CLIENT_READY,
    CLOSED,
    COMPLETE,
    DEACTIVATED,
    FIRE_AND_FORGET,
    NON_BLOCKING,
    PENDING,
    PROCESSING_CHILDREN,
    READY,
    RESOLVED,
    RETRIES_EXHAUSTED,
    SHUTDOWN,
    TASK_UNDO,
    FollowUp,
    Node,
    Taken,
    Task,
    digest,
)
from backbeat.compose.verify.rules.work import Work
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.activities import error_of

_DEFAULT = 2


def add(work: Work, node: Node, follow_ups: list[Command]) -> None:
    """A new node that activities follow. One that can be undone is known to all above it."""
    node.follow_ups = [
        FollowUp(
            row["kind"],
            row["name"],
            row["user_id"],
            work.partition.keep(work.own.id, row["client_data"]),
            timeout_of(row["client_data"], work.settings),
            row["retry_interval_seconds"],
            row["retries"],
            None if row["backoff"] is None else list(row["backoff"].values()),
        )
        for row in follow_ups
    ]
    if _of(node, "undo") is not None:
        while node.parent:
            node = work.own.node(node.parent)
            node.has_undos = True


def _of(node: Node, kind: str) -> FollowUp | None:
    return next((row for row in node.follow_ups if row.kind == kind), None)


def _make(work: Work, parent: Node | None, of: Node, row: FollowUp, mark: bytes, mode: int) -> Node:
    node = _new(work, parent, of, row.kind.encode() + mark)
    node.name, node.user_id, node.mode, node.client_data = row.name, row.user_id, mode, row.client_data
    node.timeout, node.retry_interval_seconds, node.retries = row.timeout, row.retry_interval_seconds, row.retries
    node.backoff, node.given = row.backoff, 0 if row.backoff is None else row.retries
    node.priority, node.fairness_key = of.priority, of.fairness_key
    work.add(work.own if parent is None else parent, node)
    return node


def _new(work: Work, parent: Node | None, of: Node, mark: bytes) -> Node:
    """A node that is not added yet."""
    tree = work.own
    return Node(
        id=_id(work, of, mark),
        seq=len(tree.nodes) + 1,
        parent=0 if parent is None else parent.seq,
        place=len((tree if parent is None else parent).children),
        user_id=of.user_id,
        name="Undo",
        mode=BLOCKING,
        type="activity",
        depth=1 if parent is None else parent.depth + 1,
        created_at=work.now,
        fires_at=work.now,
        client_data=work.partition.keep(tree.id, b"{}"),
        metadata=work.partition.keep(tree.id, b"{}"),
        link=None,
        retry_interval_seconds=1200.0,
        retries=6,
        timeout=-1,
        tid=of.tid,
        priority=3 if parent is None else parent.priority,
        fairness_key="" if parent is None else parent.fairness_key,
    )


def _id(work: Work, of: Node, mark: bytes) -> bytes:
    return ids.node_id(work.own.id, ids.command_id(of.id, mark), 0)


# --- failure ---------------------------------------------------------------------------------------------------------


def exhausted(work: Work, node: Node, response: bytes | None, *, is_refusal: bool) -> None:
    """Retries are used up: whoever handles the failure is a child of the node. `is_refusal`: as of the error."""
    _allow_failure(work, node)
    row = _of(node, "failure")
    if row is None or node.server != RETRIES_EXHAUSTED:
        return
    progress.reset(work, node)
    handler = _make(work, node, node, row, node.attempt.to_bytes(8, "big"), BLOCKING)
    error = ANY_RESPONSE if is_refusal else digest(error_of(response))
    handler.takes.append(Taken(node.seq, False, error, _DEFAULT))
    handler.is_added = True
    node.handler = handler.seq
    progress.make_ready(work, handler)
    progress.schedule_later(work, node)


def _allow_failure(work: Work, node: Node) -> None:
    """A child that has failed for good counts as done, as often as its parent allows that."""
    parent = work.own.parent_of(node)
    if not isinstance(parent, Node) or node.mode == FIRE_AND_FORGET or parent.failures >= parent.failures_allowed:
        return
    if work.touch(parent).server != PROCESSING_CHILDREN:
        return
    parent.failures += 1
    node.is_allowed_failure = True
    work.set_server(node, DEACTIVATED)
    progress.schedule_later(work, parent)
    progress.reset(work, node)


def check_gives_up(work: Work, node: Node) -> None:
    """Refuse to give up what is not the node's to give up."""
    pair = work.find(node.id)
    assert pair is not None
    if not node.parent or pair[0].node(node.parent).handler != node.seq:
        raise Refused(INVALID)


def handled(work: Work, node: Node) -> None:
    """A failed node is over once its handler is."""
    if not node.handler:
        return
    handler = work.node(node.handler)
    if handler.server != COMPLETE or handler.client == SHUTDOWN:
        return
    # A digest goes for the response.
    response = handler.result if handler.has_result else b""
    if handler.gives_up:
        progress.client_over(work, node, SHUTDOWN, response)
        gave_up(work, node)
        progress.shut_siblings(work, node)
        while node.mode != FIRE_AND_FORGET and node.parent:
            node = work.node(node.parent)
            if node.type != "flag" or node.server != PROCESSING_CHILDREN:
                break
            progress.shut_siblings(work, node)
    else:
        progress.client_over(work, node, RESOLVED, response)
        progress.children_ready(work, node)


def decided(work: Work, node: Node) -> None:
    """End the handler of a failed node: an operator decides in its place."""
    if node.handler:
        handler = work.node(node.handler)
        if handler.server not in CLOSED:
            work.set_server(handler, DEACTIVATED)
            progress.reset(work, handler)


def gave_up(work: Work, node: Node) -> None:
    """All that wait for a node know that it was given up, and what the node above it has done is to be undone."""
    node.given_up = True
    step_of = None
    while node.parent and node.mode != FIRE_AND_FORGET and not node.is_added:
        node = work.own.node(node.parent)
        node.given_up = True
        if step_of is None and node.type != "flag":
            step_of = node
    if step_of is not None and step_of.server == PROCESSING_CHILDREN:
        step_of.undo_due = True


# --- undo ------------------------------------------------------------------------------------------------------------


def compensate(work: Work, node: Node) -> None:
    """Cancel a node whose children are at work, once what they did is undone."""
    if node.is_canceled:
        return
    node.undo_from = node.active
    progress.reset(work, node)
    node.undo_due, node.is_canceled, node.is_undoing = node.has_undos, True, False
    progress.schedule_later(work, node)


def undoes(work: Work, node: Node) -> bool:
    """True for a node that is not complete though nothing below it is open."""
    if node.is_undoing:
        return True
    node.undo_due = node.undo_due and node.has_undos
    if node.undo_due:
        begin = node.undo_from or node.active
        node.undo_due, node.undo_from, node.is_undoing, node.undo_walks = False, 0, True, node.undo_walks + 1
        work.tasks.append((TASK_UNDO, node.seq, begin, node.undo_walks))
        return True
    if node.is_canceled:
        work.set_server(node, DEACTIVATED)
        progress.schedule_later(work, work.own.parent_of(node))
    return node.is_canceled


def walk(work: Work, task: Task) -> None:
    """An undo for each node that was done, in their order: each waits for the one behind it."""
    _, root, cursor, number = task
    holder = work.node(root)
    if holder.server != PROCESSING_CHILDREN or not holder.is_undoing or number != holder.undo_walks:
        return
    mark = b"undos" + holder.undo_walks.to_bytes(4, "big")
    while cursor:
        if work.budget <= 0:
            work.tasks.appendleft((TASK_UNDO, root, cursor, number))
            return
        work.budget -= 1
        node = work.own.node(cursor)
        cursor = _after(work, node, root, into=_look(work, holder, mark, node))
    holder.is_undoing = False
    group = _find(work, holder, mark)
    if group is not None and group.server == PENDING:
        progress.make_ready(work, group)
    progress.schedule_later(work, holder)


def _find(work: Work, holder: Node, mark: bytes) -> Node | None:
    pair = work.find(_id(work, holder, mark))
    return None if pair is None else work.touch(pair[1])


def _look(work: Work, holder: Node, mark: bytes, node: Node) -> bool:
    """True where the nodes below this one are looked at, too."""
    if node.mode == FIRE_AND_FORGET or (node.is_added and node.type == "flag"):
        return False
    row = _of(node, "undo")
    if row is None:
        return node.has_undos
    if not node.was_done:
        return True
    undo = work.own.node(node.undo) if node.undo else None
    if undo is None or (undo.status == DEACTIVATED and not undo.was_done):
        _undo(work, holder, mark, node, row)
    return False


def _undo(work: Work, holder: Node, mark: bytes, node: Node, row: FollowUp) -> None:
    group = _find(work, holder, mark)
    if group is None:
        group = _new(work, holder, holder, mark)
        group.type, group.is_added = "flag", True
        work.add(holder, group)
    if group.server == DEACTIVATED:
        return
    undo = _make(work, group, node, row, group.id, NON_BLOCKING)
    undo.takes.append(Taken(node.seq, False, None, 1))
    if len(group.children) > 1:
        before = work.own.node(group.children[-2])
        before.takes.append(Taken(undo.seq, False, digest(b"null")))
        undo.takers.append((before.seq, 1))
    node.undo = undo.seq


def _after(work: Work, node: Node, root: int, *, into: bool) -> int:
    if into and node.active:
        return node.active
    while True:
        siblings = work.own.parent_of(node).children
        if node.place + 1 < len(siblings):
            return siblings[node.place + 1]
        if node.parent in (0, root):
            return 0
        node = work.own.node(node.parent)


# --- cancel ----------------------------------------------------------------------------------------------------------


def canceled(work: Work, node: Node) -> None:
    """Add the activity that follows a cancel at the top, where it starts at once."""
    row = _of(node, "cancel")
    assert row is not None
    work.budget -= 1
    following = _make(work, None, node, row, b"", NON_BLOCKING)
    following.server, following.client, following.is_added = READY, CLIENT_READY, True
    progress.start_now(work, following)


Work.following = sys.modules[__name__]
