"""Workflows, nodes and status changes as `--json` shows them: snake_case keys, ids as text, times in ISO 8601."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backbeat import Node
    from backbeat.client.jobs.views import Job
    from backbeat.client.views import Branch, StatusChange, Tree, Workflow
    from backbeat.compose.cli.show.tree import TreeOptions


def workflow_row(workflow: Workflow) -> dict[str, Any]:
    """JSON row of a workflow."""
    return {
        "id": workflow.id,
        "name": workflow.name,
        "subject": workflow.subject,
        "decider": workflow.decider,
        "closed": workflow.closed,
        "paused": workflow.paused,
        "created_at": workflow.created_at,
    }


def node_row(node: Node) -> dict[str, Any]:
    """JSON row of a node, with all fields."""
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


def change_row(change: StatusChange) -> dict[str, Any]:
    """JSON row of an entry of a node's history."""
    return {
        "at": change.at,
        "status_type": change.status_type,
        "from_status": change.from_status,
        "to_status": change.to_status,
        "response": change.response,
    }


def tree_row(tree: Tree[Node], options: TreeOptions) -> dict[str, Any]:
    """JSON row of a workflow with its nodes in `children`; those that are not drawn are counted (`more`, `below`)."""
    return {**workflow_row(tree.workflow), **_children_row(tree.children, 1, options)}


def _children_row(branches: Sequence[Branch[Node]], level: int, options: TreeOptions) -> dict[str, Any]:
    drawn_branches = branches[: options.children_max]
    undrawn = len(branches) - len(drawn_branches)
    return {
        "children": [_branch_row(branch, level, options) for branch in drawn_branches],
        **({"more": undrawn} if undrawn else {}),
    }


def _branch_row(branch: Branch[Node], level: int, options: TreeOptions) -> dict[str, Any]:
    node = branch.node
    descendants: dict[str, Any]
    if options.folds(branch, level):
        descendants = {"children": [], "below": sum(1 for _ in branch.walk()) - 1}
    else:
        descendants = _children_row(branch.children, level + 1, options)
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
        **descendants,
    }


def job_row(job: Job) -> dict[str, Any]:
    """JSON row of a job, and its progress."""
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
    """Message and traceback lines of an error, out of the response that came with it.

    A worker's response is JSON-RPC shaped (docs/reference/sdk.md); clients of the HTTP API may have sent anything.
    """
    error = response.get("error", response) if isinstance(response, dict) else response
    if isinstance(error, dict):
        data = error.get("data")
        lines = [str(line) for line in data] if isinstance(data, list) else []
        return str(error.get("message", error) if error else ""), lines
    return "" if error is None else str(error), []
