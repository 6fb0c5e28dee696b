"""Retention: finished workflows are removed, or wait to be archived, after the time that a policy of theirs says."""

from __future__ import annotations

import math

from backbeat.compose.verify.avro import Command
from backbeat.compose.verify.rules.checks import INVALID, LIMIT, Refused
from backbeat.compose.verify.rules.records import Removal
from backbeat.compose.verify.rules.tree import TASK_REMOVE, TASK_RETAIN, Tree
from backbeat.compose.verify.rules.work import Rule, Work
from backbeat.schemas.messages.bounds import NAMES_BYTES_MAX

#: Tasks of a Continue that are about no workflow that there is.
TASKS = (TASK_REMOVE, TASK_RETAIN)
_POLICIES_MAX = 200
_SECONDS_MAX = 100 * 365 * 86_400.0


def _policy_of(work: Work, tree: Tree) -> Command | None:
    return work.partition.state.policies.get(tree.user_id + tree.name.encode())


def _is_finished(tree: Tree) -> bool:
    return not tree.open_count and not tree.pending


def review(work: Work) -> None:
    """After a command: the time at which its workflow is removed is set, moved or dropped."""
    tree = work.tree
    if tree is None or (tree.finished_at is None and not work.partition.state.policies):
        return
    if not work.changed and work.name not in ("CreateWorkflow", "SendMessage"):
        return
    finished = _is_finished(tree)
    if finished or tree.finished_at is not None:
        _arrange(work, tree, work.now if finished else None)


def _arrange(work: Work, tree: Tree, finished_at: int | None) -> None:
    _clear(tree)
    policy = _policy_of(work, tree)
    if policy is None or finished_at is None:
        return
    tree.finished_at = finished_at
    tree.removal_at = max(work.now, finished_at + int(policy["keep_seconds"] * 1000))
    tree.removal_number = max(tree.removal_number + 1, work.now)


def _clear(tree: Tree) -> None:
    tree.finished_at = tree.removal_at = tree.due_at = None


def on_change_retention(work: Work, command: Command) -> None:
    """A policy, or none any more; all workflows are looked at."""
    policies, policy = work.partition.state.policies, command["policy"]
    key = policy["owner_id"] + policy["name"].encode()
    if command["forget"]:
        policies.pop(key, None)
    else:
        if not 0 < len(policy["name"].encode()) <= work.settings["name_bytes_max"]:
            raise Refused(INVALID)
        for seconds in (policy["keep_seconds"], policy["refuse_seconds"]):
            if math.isnan(seconds) or not 1.0 <= seconds <= _SECONDS_MAX:
                raise Refused(INVALID)
        if key not in policies and len(policies) >= _POLICIES_MAX:
            raise Refused(LIMIT)
        if key not in policies and sum(map(len, policies)) + len(key) > NAMES_BYTES_MAX:
            raise Refused(LIMIT)
        policies[key] = policy
    work.answer()
    _look_at_all(work, None)


def _look_at_all(work: Work, after: bytes | None) -> None:
    partition = work.partition
    workflow_ids = partition.spill.workflow_ids(partition.number, after, work.budget)
    for workflow_id in workflow_ids:
        tree = partition.spill.family(partition.number, workflow_id).trees[workflow_id]
        policy = _policy_of(work, tree)
        if policy is None or not _is_finished(tree):
            _clear(tree)
            continue
        if tree.finished_at is not None:
            removal_at = tree.finished_at + int(policy["keep_seconds"] * 1000)
            waits = tree.due_at is not None and policy["archive"] and removal_at <= work.now
            if tree.removal_at == removal_at or waits:
                continue
        _arrange(work, tree, work.now if tree.finished_at is None else tree.finished_at)
    if len(workflow_ids) == work.budget:
        work.send("Continue", {"workflow_id": workflow_ids[-1]})


def on_continue(work: Work, command: Command) -> None:
    """The rest of a walk over all workflows, or of a removal."""
    task = command["tasks"][0]
    if task["kind"] == TASK_RETAIN:
        _look_at_all(work, task["cursor"])
        return
    removal = work.partition.state.removals.pop(command["source"]["offset"], None)
    if removal is None:
        raise Refused("nothing is left of that removal")
    _take_away(work, removal)


def on_timer(work: Work, command: Command) -> None:
    """A workflow was kept for as long as its policy says."""
    workflow_id = command["subject_id"]
    tree = work.partition.spill.family(work.partition.number, workflow_id).trees.get(workflow_id)
    if tree is None or tree.removal_at is None or tree.removal_number != command["number"]:
        return
    finished_at = tree.finished_at
    assert finished_at is not None, "a timer of a workflow that is not finished"
    if work.now <= finished_at:
        _arrange(work, tree, finished_at)
        return
    _clear(tree)
    policy = _policy_of(work, tree)
    if policy is None:
        return
    if policy["archive"]:
        tree.finished_at, tree.due_at = finished_at, work.now
    else:
        _remove(work, tree, policy)


def on_remove_workflow(work: Work, command: Command) -> None:
    """A workflow was archived."""
    workflow_id = command["workflow_id"]
    tree = work.partition.spill.family(work.partition.number, workflow_id).trees.get(workflow_id)
    policy = None if tree is None else _policy_of(work, tree)
    work.answer()
    if tree is None or policy is None or tree.due_at is None or tree.removal_number != command["revision"]:
        return
    _remove(work, tree, policy)


def _remove(work: Work, tree: Tree, policy: Command) -> None:
    """The workflow at once; its nodes step by step, children before parents, and what was put away of histories."""
    work.partition.spill.family(work.partition.number, tree.id).forget(tree)
    steps: list[bytes] = []
    stack = list(reversed(tree.children))
    entered: set[int] = set()
    while stack:
        node = tree.node(stack[-1])
        if node.children and node.seq not in entered:
            entered.add(node.seq)
            steps.append(b"")
            stack.extend(reversed(node.children))
            continue
        steps += [b""] * (len(node.chunk_ends) + len(node.takes))
        steps.append(node.id)
        stack.pop()
    forget_at = work.now + int(policy["refuse_seconds"] * 1000)
    tops = [tree.node(seq).id for seq in tree.children]
    _take_away(work, Removal(workflow_id=tree.id, forget_at=forget_at, steps=steps, tops=tops))


def _take_away(work: Work, removal: Removal) -> None:
    partition = work.partition
    gone = set(removal.steps[: work.budget])
    rows = [(partition.number, node_id, removal.forget_at) for node_id in removal.tops if node_id in gone]
    partition.spill.db.executemany("INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?)", rows)
    partition.state.removed += len(rows)
    removal.steps = removal.steps[work.budget :]
    if removal.steps:
        partition.state.removals[partition.offset] = removal
        work.send("Continue", {"workflow_id": removal.workflow_id})


def on_forget(work: Work, command: Command) -> None:
    """A removed signal is forgotten."""
    partition = work.partition
    key = (partition.number, command["subject_id"])
    deleted = partition.spill.db.execute("DELETE FROM tombstones WHERE partition = ? AND id = ?", key)
    partition.state.removed -= deleted.rowcount


def is_late_result(work: Work) -> bool:
    """True for a worker's result of a removed node that nobody waits for: under a policy it is passed over."""
    command = work.command
    if work.name not in ("ChangeNode", "AddChildren", "Heartbeat") or not work.partition.state.policies:
        return False
    late = command["attempt"] is not None and command["reply_to"] is None
    return late and work.find(command["node_id"]) is None


RETENTION_RULES: dict[str, Rule] = {"ChangeRetention": on_change_retention, "RemoveWorkflow": on_remove_workflow}
