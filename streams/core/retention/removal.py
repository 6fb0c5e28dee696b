"""Removal of a finished workflow (`policies` has its time).

Its own record is deleted first: from then on nothing of it is found, and the same subject may begin again. Its nodes
follow, children before parents, slice by slice. Each top-level node leaves a tombstone for `refuse_seconds`, so that a
late repeat of the signal creates nothing. Other nodes need none: a command that names one names a deleted parent.

Under a policy with `archive`, a due workflow waits in the archive queue until a RemoveWorkflow with the revision that
was archived.
"""

from __future__ import annotations

from msgspec.structs import replace

from backbeat.schemas.messages.commands import AddChildren, ChangeNode, Continue, Heartbeat, RemoveWorkflow, TimerFired
from backbeat.schemas.messages.replies import Done
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.values import Task, TaskKind
from backbeat.streams.core.effects import Send
from backbeat.streams.core.records import Node, Workflow
from backbeat.streams.core.retention import policies
from backbeat.streams.core.retention.records import ArchiveEntry, SignalTombstone
from backbeat.streams.core.step import Step
from backbeat.streams.core.tables import (
    ARCHIVE_QUEUE,
    CHUNKS,
    INBOXES,
    MESSAGES,
    NODES,
    REFERENCES,
    TOMBSTONES,
    WORKFLOWS,
)
from backbeat.streams.core.transaction import Transaction
from backbeat.streams.core.tree.deactivation import belongs_to_removed_workflow


def due(step: Step, command: TimerFired) -> None:
    """The removal timer has fired: remove the workflow, or put it into the archive queue."""
    transaction = step.transaction
    workflow = transaction.edit(WORKFLOWS, command.subject_id)
    if workflow is None or workflow.removal_at is None or workflow.removal_number != command.number:
        step.ignore("a timer that no longer stands")
        return
    finished_at = workflow.finished_at
    assert finished_at is not None, "a timer of a workflow that is not finished"
    if step.now <= finished_at:
        # A clock stepped back by more than `keep_seconds`: `belongs_to_removed_workflow` compares these times.
        policies.arrange(transaction, workflow, finished_at, step.now)
        return
    policies.clear(transaction, workflow)
    policy = policies.policy_of(transaction, workflow)
    if policy is None:
        return
    if policy.archive:
        workflow.finished_at, workflow.due_at = finished_at, step.now
        transaction.add(ARCHIVE_QUEUE, (step.now, workflow.id), ArchiveEntry())
    else:
        _begin(step, workflow, policy)


def remove(step: Step, command: RemoveWorkflow) -> None:
    """Remove a workflow that was archived at this revision."""
    transaction = step.transaction
    workflow = transaction.edit(WORKFLOWS, command.workflow_id)
    policy = None if workflow is None else policies.policy_of(transaction, workflow)
    if workflow is None or policy is None or workflow.due_at is None or workflow.removal_number != command.revision:
        step.ignore("a removal of a workflow to which something has happened since, or that is gone")
        step.reply(Done(changed=False))
        return
    policies.clear(transaction, workflow)
    _begin(step, workflow, policy)
    step.reply(Done())


def _begin(step: Step, workflow: Workflow, policy: RetentionPolicy) -> None:
    step.transaction.delete(WORKFLOWS, workflow.id)
    inbox = step.transaction.get(INBOXES, workflow.id)
    if inbox is not None:
        for number, _ in inbox.kept:
            step.transaction.delete(MESSAGES, (workflow.id, number))
        step.transaction.delete(INBOXES, workflow.id)
    forget_at = step.now + int(policy.refuse_seconds * 1000)
    go_on(step, Task(TaskKind.REMOVE, workflow.id, workflow.first_child, forget_at))


def go_on(step: Step, task: Task) -> None:
    """Remove nodes, up to the command's budget; a Continue has the rest."""
    cursor = task.cursor
    while cursor is not None:
        if step.budget <= 0:
            next_task = Task(TaskKind.REMOVE, task.id, cursor, task.mark)
            command = step.command
            step.effects.append(Send(Continue(id=command.id, tid=command.tid, workflow_id=task.id, tasks=(next_task,))))
            return
        step.budget -= 1
        cursor = _remove(step.transaction, cursor, forget_at=task.mark)


def _remove(transaction: Transaction, node_id: bytes, *, forget_at: int) -> bytes | None:
    """A step of a removal: descend to a child, or delete a chunk or the node. Returns the next node's id, or null."""
    node = transaction.get(NODES, node_id)
    assert node is not None, "a pointer to a node that is not stored"
    if node.first_child is not None:
        return node.first_child
    if node.history_chunks:
        node = _edit(transaction, node_id)
        node.history_chunks -= 1
        transaction.delete(CHUNKS, (node_id, node.history_chunks))
        return node_id
    if node.flow is not None and node.flow.taken:
        node = _edit(transaction, node_id)
        assert node.flow is not None, "the same node"
        node.flow = replace(node.flow, taken=node.flow.taken - 1)
        transaction.delete(REFERENCES, (node_id, node.flow.taken))
        return node_id
    transaction.delete(NODES, node_id)
    if node.parent_id is None:
        transaction.add(TOMBSTONES, node_id, SignalTombstone(forget_at=forget_at))
        transaction.edit_meta().removed += 1
    if node.next_sibling is not None or node.parent_id is None:
        return node.next_sibling
    parent = _edit(transaction, node.parent_id)
    parent.first_child = None
    return parent.id


def _edit(transaction: Transaction, node_id: bytes) -> Node:
    node = transaction.edit(NODES, node_id)
    assert node is not None, "a pointer to a node that is not stored"
    return node


# --- afterwards -------------------------------------------------------------------------------------------------------


def is_late_result_of_removed_node(step: Step, command: ChangeNode | AddChildren | Heartbeat) -> bool:
    """True for a worker's late result of a removed node, which awaits no answer; it is ignored.

    Without any policy it goes on and is refused: then an operator must see it.
    """
    transaction = step.transaction
    if command.attempt is None or command.reply_to is not None or not transaction.meta.retention:
        return False
    node = transaction.get(NODES, command.node_id)
    if node is not None and not belongs_to_removed_workflow(node, transaction.get(WORKFLOWS, node.workflow_id)):
        return False
    step.ignore("a result of a node that is there no more")
    return True


def forget(step: Step, command: TimerFired) -> None:
    """Delete a tombstone."""
    transaction = step.transaction
    if transaction.get(TOMBSTONES, command.subject_id) is None:
        step.ignore("a removed node that was forgotten before")
        return
    transaction.delete(TOMBSTONES, command.subject_id)
    transaction.edit_meta().removed -= 1
