"""Retention policies by client and workflow name, and the removal timer of each finished workflow.

A workflow is finished when it has no open node and no pending Continue. Under a policy its timer is set then; later
changes set it anew, or clear it where there is work again. A new policy goes through all workflows of the partition,
slice by slice. A timer that fires is handled in `removal`.
"""

from __future__ import annotations

import math

from backbeat.schemas.messages.bounds import NAMES_BYTES_MAX
from backbeat.schemas.messages.commands import ChangeRetention, Continue, CreateWorkflow, SendMessage
from backbeat.schemas.messages.replies import Done, Reason
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.values import Task, TaskKind
from backbeat.streams.core.effects import Send
from backbeat.streams.core.records import Workflow
from backbeat.streams.core.step import Step, refuse
from backbeat.streams.core.store import Store
from backbeat.streams.core.tables import ARCHIVE_QUEUE, RETENTION, WORKFLOWS
from backbeat.streams.core.transaction import Transaction

#: Policies, at most: the meta record has them, and is written with every commit.
POLICIES_MAX = 200
KEEP_SECONDS_MIN = 1.0
#: Commands that begin the time anew though no node changes: a signal is likely to follow.
_ACTIVITY = (CreateWorkflow, SendMessage)
_SECONDS_MAX = 100 * 365 * 86_400.0


def policy_key(owner_id: bytes, name: str) -> bytes:
    """The key of a policy."""
    return owner_id + name.encode()


def policy_of(store: Store, workflow: Workflow) -> RetentionPolicy | None:
    """The policy of a workflow; null: it has none, and is never removed."""
    return store.get(RETENTION, policy_key(workflow.user_id, workflow.name))


def is_finished(workflow: Workflow) -> bool:
    """True when a workflow has no open node and no pending Continue."""
    return workflow.children_open == 0 and workflow.detached_open == 0 and workflow.continuations_pending == 0


def review(step: Step) -> None:
    """Set, move or clear the removal timer of the command's workflow, at the command's end."""
    workflow: Workflow | None = step.workflow
    if workflow is None or not (workflow.finished_at is not None or step.transaction.meta.retention):
        return
    if not step.has_changed and type(step.command) not in _ACTIVITY:
        return
    finished = is_finished(workflow)
    if finished or workflow.finished_at is not None:
        arrange(step.transaction, workflow, step.now if finished else None, step.now)


def arrange(transaction: Transaction, workflow: Workflow, finished_at: int | None, now: int) -> None:
    """Set the removal timer of a workflow. `finished_at`: milliseconds since the epoch; null: it is not finished."""
    clear(transaction, workflow)
    policy = policy_of(transaction, workflow)
    if policy is None or finished_at is None:
        return
    workflow.finished_at = finished_at
    workflow.removal_at = max(now, finished_at + int(policy.keep_seconds * 1000))
    # At least the time: no earlier workflow of the same id ever had this number.
    workflow.removal_number = max(workflow.removal_number + 1, now)


def clear(transaction: Transaction, workflow: Workflow) -> None:
    """Clear the removal timer, and take the workflow out of the archive queue."""
    if workflow.due_at is not None:
        transaction.delete(ARCHIVE_QUEUE, (workflow.due_at, workflow.id))
    workflow.finished_at = workflow.removal_at = workflow.due_at = None


# --- policies --------------------------------------------------------------------------------------------------------


def change(step: Step, command: ChangeRetention) -> None:
    """Set a policy or delete it; then go through the stored workflows."""
    policy, policies = command.policy, step.transaction.keys(RETENTION)
    key = policy_key(policy.owner_id, policy.name)
    if command.forget:
        step.transaction.delete(RETENTION, key)
    else:
        _check(step, policy)
        if key not in policies and len(policies) >= POLICIES_MAX:
            message = f"There are {len(policies)} policies of retention; {POLICIES_MAX} is the most"
            raise refuse(Reason.LIMIT_EXCEEDED, message, found=str(len(policies)), wanted=f"at most {POLICIES_MAX}")
        if key not in policies and sum(map(len, policies)) + len(key) > NAMES_BYTES_MAX:
            message = f"The names of all policies of retention together have more than {NAMES_BYTES_MAX} bytes"
            raise refuse(Reason.LIMIT_EXCEEDED, message, found="more", wanted=f"at most {NAMES_BYTES_MAX} bytes")
        step.transaction.put(RETENTION, key, policy)
    step.reply(Done())
    _walk(step, None)


def _check(step: Step, policy: RetentionPolicy) -> None:
    limit = step.settings.name_bytes_max
    if not 0 < len(policy.name.encode()) <= limit:
        message = f"A workflow's name has 1 to {limit} bytes"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=policy.name[:64], wanted="a workflow's name")
    for name, seconds in (("keep_seconds", policy.keep_seconds), ("refuse_seconds", policy.refuse_seconds)):
        if math.isnan(seconds) or not KEEP_SECONDS_MIN <= seconds <= _SECONDS_MAX:
            message = f"{name} is {seconds:g}; {KEEP_SECONDS_MIN:g} is the least, and 100 years the most"
            raise refuse(Reason.INVALID_PARAMETERS, message, found=f"{seconds:g}", wanted="1 second or more")


def go_on(step: Step, task: Task) -> None:
    """The next slice of the walk through all workflows."""
    _walk(step, task.cursor)


def _walk(step: Step, cursor: bytes | None) -> None:
    workflow_ids = [identity for identity, _ in step.transaction.scan(WORKFLOWS, cursor, step.budget)]
    for workflow_id in workflow_ids:
        workflow = step.transaction.edit(WORKFLOWS, workflow_id)
        assert workflow is not None, "a workflow that a scan has found"
        _follow(step.transaction, workflow, step.now)
    if len(workflow_ids) == step.budget:
        # Routed by a workflow of this partition, the Continue comes back here.
        last = workflow_ids[-1]
        task = Task(TaskKind.RETAIN, last, last)
        command = step.command
        step.effects.append(Send(Continue(id=command.id, tid=command.tid, workflow_id=last, tasks=(task,))))


def _follow(transaction: Transaction, workflow: Workflow, now: int) -> None:
    """Apply the current policy to a workflow. One that finished before its policy was set counts from now."""
    policy = policy_of(transaction, workflow)
    finished_at = workflow.finished_at
    if policy is None or not is_finished(workflow):
        clear(transaction, workflow)
        return
    if finished_at is not None:
        removal_at = finished_at + int(policy.keep_seconds * 1000)
        if workflow.removal_at == removal_at or (workflow.due_at is not None and policy.archive and removal_at <= now):
            return
    arrange(transaction, workflow, now if finished_at is None else finished_at, now)
