"""How a finished workflow is removed (`retention` says when).

Its own record goes first: from then on nothing of it is found, and the same subject may begin again. Its nodes follow,
children before parents, slice by slice. Of each node at the top a small record stays for a while, so that a late repeat
of the signal makes nothing. Ids of other nodes need none: whatever names them names a parent that is gone, too.

Where the policy wants an archive, a workflow that is due waits in a list until whoever archives says that it has done
so, and names the revision that it has read.
"""

from __future__ import annotations

from backbeat.schemas.messages.commands import AddChildren, ChangeNode, Continue, Heartbeat, RemoveWorkflow, TimerFired
from backbeat.schemas.messages.replies import Done
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.values import Task, TaskKind
from backbeat.streams.core.effects import Send
from backbeat.streams.core.records import Node, Workflow
from backbeat.streams.core.retention import policies
from backbeat.streams.core.retention.records import Due, SignalTombstone
from backbeat.streams.core.step import Step
from backbeat.streams.core.tables import CHUNKS, DUE, NODES, TOMBSTONES, WORKFLOWS
from backbeat.streams.core.transaction import Transaction
from backbeat.streams.core.tree.deactivation import is_left_over


def due(step: Step, command: TimerFired) -> None:
    """A workflow was finished for as long as it is kept."""
    transaction = step.transaction
    workflow = transaction.edit(WORKFLOWS, command.subject_id)
    if workflow is None or workflow.removal_at is None or workflow.removal_number != command.number:
        step.ignore("a timer that no longer stands")
        return
    finished_at = workflow.finished_at
    assert finished_at is not None, "a timer of a workflow that is not finished"
    if step.now <= finished_at:
        # A clock stepped back by more than it is kept: what `is_left_over` relies on would not hold.
        policies.arrange(transaction, workflow, finished_at, step.now)
        return
    policies.clear(transaction, workflow)
    policy = policies.policy_of(transaction, workflow)
    if policy is None:
        return
    if policy.archive:
        workflow.finished_at, workflow.due_at = finished_at, step.now
        transaction.add(DUE, (step.now, workflow.id), Due())
    else:
        _begin(step, workflow, policy)


def remove(step: Step, command: RemoveWorkflow) -> None:
    """A workflow that was due is archived."""
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
    forget_at = step.now + int(policy.refuse_seconds * 1000)
    go_on(step, Task(TaskKind.REMOVE, workflow.id, workflow.first_child, forget_at))


def go_on(step: Step, task: Task) -> None:
    """Remove nodes, as many as one command may."""
    cursor = task.cursor
    while cursor is not None:
        if step.budget <= 0:
            rest = Task(TaskKind.REMOVE, task.id, cursor, task.mark)
            command = step.command
            step.effects.append(Send(Continue(id=command.id, tid=command.tid, workflow_id=task.id, tasks=(rest,))))
            return
        step.budget -= 1
        cursor = _remove(step.transaction, cursor, forget_at=task.mark)


def _remove(transaction: Transaction, node_id: bytes, *, forget_at: int) -> bytes | None:
    """One step of the way: down to a child, or away with a part of the node or all of it. Where to go on."""
    node = transaction.get(NODES, node_id)
    assert node is not None, "a pointer to a node that is not stored"
    if node.first_child is not None:
        return node.first_child
    if node.history_chunks:
        node = _edit(transaction, node_id)
        node.history_chunks -= 1
        transaction.delete(CHUNKS, (node_id, node.history_chunks))
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


def is_left_behind(step: Step, command: ChangeNode | AddChildren | Heartbeat) -> bool:
    """Whether a worker answers for a node that is gone, and waits for no answer: it ran an activity again.

    Where nothing is ever removed it is something that an operator must see.
    """
    transaction = step.transaction
    if command.attempt is None or command.reply_to is not None or not transaction.meta.retention:
        return False
    node = transaction.get(NODES, command.node_id)
    if node is not None and not is_left_over(node, transaction.get(WORKFLOWS, node.workflow_id)):
        return False
    step.ignore("a result of a node that is there no more")
    return True


def forget(step: Step, command: TimerFired) -> None:
    """The id of a removed node need not be refused any more."""
    transaction = step.transaction
    if transaction.get(TOMBSTONES, command.subject_id) is None:
        step.ignore("a removed node that was forgotten before")
        return
    transaction.delete(TOMBSTONES, command.subject_id)
    transaction.edit_meta().removed -= 1
