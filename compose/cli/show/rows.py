"""Workflows, nodes and status changes as `--json` shows them: snake_case keys, ids as text, times in ISO 8601."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backbeat import Node
    from backbeat.client.jobs.views import Job
    from backbeat.client.views import Branch, StatusChange, Tree, Workflow
    from backbeat.compose.cli.show.tree import Drawn


def workflow_facts(workflow: Workflow) -> dict[str, Any]:
    """A workflow."""
    return {
        "id": workflow.id,
        "name": workflow.name,
        "subject": workflow.subject,
        "decider": workflow.decider,
        "closed": workflow.closed,
        "paused": workflow.paused,
        "created_at": workflow.created_at,
    }


def node_facts(node: Node) -> dict[str, Any]:
    """A node, whole."""
    return {
        "id": node.id,
        "name": node.name,
        "workflow_id": node.workflow_id,
        "workflow_name": node.workflow_name,
        "subject": node.subject,
        "parent_id": node.parent_id,
        "mode": node.mode,
        "status": node.status,
        "client_status": node.client_status,
        "attempt": node.attempt,
        "retries_remaining": node.retries_remaining,
        "created_at": node.created_at,
        "due_at": node.due_at,
        "complete_by": node.complete_by,
        "decider": node.decider,
        "client_data": node.client_data,
        "metadata": node.metadata,
        "priority": node.priority,
        "fairness_key": node.fairness_key,
        "waits_for_slot": node.waits_for_slot,
        "tid": node.tid,
    }


def change_facts(change: StatusChange) -> dict[str, Any]:
    """One entry of a node's history."""
    return {
        "at": change.at,
        "status_type": change.status_type,
        "from_status": change.from_status,
        "to_status": change.to_status,
        "response": change.response,
    }


def tree_facts(tree: Tree[Node], drawn: Drawn) -> dict[str, Any]:
    """A workflow with its nodes, nested in `children`; what is not drawn of them is counted (`more`, `below`)."""
    return {**workflow_facts(tree.workflow), **_children_facts(tree.children, 1, drawn)}


def _children_facts(branches: Sequence[Branch[Node]], level: int, drawn: Drawn) -> dict[str, Any]:
    shown = branches[: drawn.children_max]
    left = len(branches) - len(shown)
    return {"children": [_branch_facts(branch, level, drawn) for branch in shown], **({"more": left} if left else {})}


def _branch_facts(branch: Branch[Node], level: int, drawn: Drawn) -> dict[str, Any]:
    node = branch.node
    below: dict[str, Any]
    if drawn.folds(branch, level):
        below = {"children": [], "below": sum(1 for _ in branch.walk()) - 1}
    else:
        below = _children_facts(branch.children, level + 1, drawn)
    return {
        "id": node.id,
        "name": node.name,
        "mode": node.mode,
        "status": node.status,
        "client_status": node.client_status,
        "attempt": node.attempt,
        "retries_remaining": node.retries_remaining,
        "created_at": node.created_at,
        "due_at": node.due_at,
        **below,
    }


def job_facts(job: Job) -> dict[str, Any]:
    """A job, and how far it is."""
    return {
        "id": job.id,
        "action": job.action,
        "filters": job.filters,
        "dry_run": job.dry_run,
        "state": job.state,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "examined": job.examined,
        "matched": job.matched,
        "done": job.done,
        "refused": job.refused,
        "matches": job.matches,
        "refusals": job.refusals,
    }


def error_of(response: Any) -> tuple[str, list[str]]:
    """What an error says, and its traceback's lines, out of the response that came with it.

    A worker's response is JSON-RPC shaped (docs/reference/sdk.md); clients of the HTTP API may have said anything.
    """
    error = response.get("error", response) if isinstance(response, dict) else response
    if isinstance(error, dict):
        data = error.get("data")
        lines = [str(line) for line in data] if isinstance(data, list) else []
        return str(error.get("message", error) if error else ""), lines
    return "" if error is None else str(error), []
