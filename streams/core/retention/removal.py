"""How a finished workflow is removed (`retention` says when).

Its own record goes first: from then on nothing of it is found, and the same subject may begin again. Its nodes follow,
children before parents, slice by slice. Of each node at the top a small record stays for a while, so that a late repeat
of the signal makes nothing. Ids of other nodes need none: whatever names them names a parent that is gone, too.

Where the policy wants an archive, a workflow that is due waits in a list until whoever archives says that it has done
so, and names the revision that it has read.
"""

from __future__ import annotations

from copy import copy

from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import (
    AddChildren,
    ChangeNode,
    Continue,
    Heartbeat,
    RemoveWorkflow,
    Signal,
    Task,
    TaskKind,
    TimerFired,
)
from backbeat.schemas.messages.replies import Done, Reason
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.effects import Send
from backbeat.streams.core.records import Node, SignalTombstone, Workflow
from backbeat.streams.core.retention import policies
from backbeat.streams.core.step import Step, refuse
from backbeat.streams.core.store import Store
from backbeat.streams.core.tree.deactivation import is_left_over


def takes_timer(step: Step, command: TimerFired) -> bool:
    """Whether a timer that has fired is of what is removed or refused: then what it stands for is done."""
    if command.kind == TimerKind.RETENTION:
        _due(step, command)
    elif command.kind == TimerKind.REFUSAL:
        _forget(step, command)
    else:
        return False
    return True


def takes_task(step: Step, task: Task) -> bool:
    """Whether the rest of some work is about no workflow that is there: then it is done."""
    if task.kind == TaskKind.REMOVE:
        _go_on(step, task)
    elif task.kind == TaskKind.RETAIN:
        policies.go_on(step, task)
    else:
        return False
    return True


def _due(step: Step, command: TimerFired) -> None:
    """A workflow was finished for as long as it is kept."""
    store = step.store
    stored = store.get_workflow(command.subject_id)
    if stored is None or stored.removal_at is None or stored.removal_number != command.number:
        step.ignore("a timer that no longer stands")
        return
    workflow, finished_at = copy(stored), stored.finished_at
    assert finished_at is not None, "a timer of a workflow that is not finished"
    if step.now <= finished_at:
        # A clock stepped back by more than it is kept: what `is_left_over` relies on would not hold.
        policies.arrange(store, workflow, finished_at, step.now)
        store.put_workflow(workflow)
        return
    policies.clear(store, workflow)
    policy = policies.policy_of(store.meta, workflow)
    if policy is not None and not policy.archive:
        _begin(step, workflow, policy)
        return
    if policy is not None:
        workflow.finished_at, workflow.due_at = finished_at, step.now
        store.put_due(step.now, workflow.id)
    store.put_workflow(workflow)


def remove(step: Step, command: RemoveWorkflow) -> None:
    """A workflow that was due is archived."""
    stored = step.store.get_workflow(command.workflow_id)
    policy = None if stored is None else policies.policy_of(step.store.meta, stored)
    if stored is None or policy is None or stored.due_at is None or stored.removal_number != command.revision:
        step.ignore("a removal of a workflow to which something has happened since, or that is gone")
        step.reply(Done(changed=False))
        return
    workflow = copy(stored)
    policies.clear(step.store, workflow)
    _begin(step, workflow, policy)
    step.reply(Done())


def _begin(step: Step, workflow: Workflow, policy: RetentionPolicy) -> None:
    step.store.delete_workflow(workflow.id)
    forget_at = step.now + int(policy.refuse_seconds * 1000)
    _go_on(step, Task(TaskKind.REMOVE, workflow.id, workflow.first_child, forget_at))


def _go_on(step: Step, task: Task) -> None:
    """Remove nodes, as many as one command may."""
    cursor = task.cursor
    changed: dict[bytes, Node] = {}
    while cursor is not None:
        if step.budget <= 0:
            rest = Task(TaskKind.REMOVE, task.id, cursor, task.mark)
            command = step.command
            step.effects.append(Send(Continue(id=command.id, tid=command.tid, workflow_id=task.id, tasks=(rest,))))
            break
        step.budget -= 1
        cursor = _remove(step.store, cursor, changed, forget_at=task.mark)
    for node in changed.values():
        step.store.put_node(node)


def _remove(store: Store, node_id: bytes, changed: dict[bytes, Node], *, forget_at: int) -> bytes | None:
    """One step of the way: down to a child, or away with a part of the node or all of it. Where to go on."""
    node = changed.get(node_id) or store.get_node(node_id)
    assert node is not None, "a pointer to a node that is not stored"
    if node.first_child is not None:
        return node.first_child
    if node.history_chunks:
        node = changed[node_id] = copy(node)
        node.history_chunks -= 1
        store.delete_chunk(node_id, node.history_chunks)
        return node_id
    changed.pop(node_id, None)
    store.delete_node(node_id)
    if node.parent_id is None:
        store.put_removed(node_id, SignalTombstone(forget_at=forget_at))
        store.set_timer(forget_at, node_id, TimerKind.REFUSAL, 0)
        store.meta.removed += 1
    if node.next_sibling is not None or node.parent_id is None:
        return node.next_sibling
    parent = changed.get(node.parent_id) or store.get_node(node.parent_id)
    assert parent is not None, "a child without its parent"
    parent = changed[node.parent_id] = copy(parent)
    parent.first_child = None
    return parent.id


# --- afterwards ------------------------------------------------------------------------------------------------------


def was_removed(store: Store, node_id: bytes, node: Node | None) -> bool:
    """Whether there was such a node at the top of a workflow that was removed, as far as that is remembered.

    `node`: what is stored under the id.
    """
    if node is not None:
        return is_left_over(node, store.get_workflow(node.workflow_id))
    return store.meta.removed > 0 and store.get_removed(node_id) is not None


def refuse_repeat(step: Step, command: Signal) -> None:
    """A signal that was taken before its workflow was removed makes nothing; where nobody waits, nobody is told."""
    if command.reply_to is not None:
        message = "This signal was taken before; its workflow was finished and has been removed"
        raise refuse(Reason.NOT_FOUND, message, found="a workflow that was removed", wanted="a signal of another id")
    step.ignore("a repeat: its node was removed")
    if command.link_open and command.node.parent_link_id is not None:
        step.close_link(command.node.parent_link_id, ids.node_id(command.workflow_id, command.id, 0))


def is_left_behind(step: Step, command: ChangeNode | AddChildren | Heartbeat) -> bool:
    """Whether a worker answers for a node that is gone, and waits for no answer: it ran an activity again.

    Where nothing is ever removed it is something that an operator must see.
    """
    if not step.store.meta.retention or command.attempt is None or command.reply_to is not None:
        return False
    # Without entering the workflow: whoever does the command enters it, and only once.
    store = step.store
    node = store.get_node(command.node_id)
    return node is None or is_left_over(node, store.get_workflow(node.workflow_id))


def _forget(step: Step, command: TimerFired) -> None:
    """The id of a removed node need not be refused any more."""
    store = step.store
    removed = store.get_removed(command.subject_id)
    if removed is None:
        step.ignore("a removed node that was forgotten before")
        return
    store.delete_removed(command.subject_id)
    store.clear_timer(removed.forget_at, command.subject_id, TimerKind.REFUSAL)
    store.meta.removed -= 1
