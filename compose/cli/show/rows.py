"""Nouns as `--json` shows them, by their names in the SDK: ids as text, times in ISO 8601."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from backbeat import Node
    from backbeat.client.jobs.views import Job
    from backbeat.client.limits.views import ActivityLimit
    from backbeat.client.schedules.views import Schedule
    from backbeat.client.views import Branch, StatusChange, Tree, Workflow
    from backbeat.client.waits import Child, Wait
    from backbeat.compose.cli.show.tree import TreeOptions


_WORKFLOW = ("id", "name", "subject", "decider", "closed", "paused", "created_at")
#: How a node stands; of nodes in a tree nothing else is shown but name and id.
_ATTEMPTS = ("mode", "status", "client_status", "attempt", "retries_remaining", "created_at", "due_at")
_NODE = (
    *("id", "name", "workflow_id", "workflow_name", "subject", "parent_id", *_ATTEMPTS, "complete_by"),
    *("fraction_done", "progress_note"),
    *("decider", "client_data", "metadata", "priority", "fairness_key", "waits_for_slot"),
    *("waits_for_results", "tid"),
)
_WAIT = ("kind", "sentence", "since", "until", "node_id", "count")
_CHILD = (
    *("id", "name", "type", "mode", "status", "client_status", "attempt", "retries_remaining", "created_at"),
    *("changed_at", "depth", "has_children", "children_open", "error"),
)
_CHANGE = ("at", "status_type", "from_status", "to_status", "response")
_JOB = (
    *("id", "action", "filters", "dry_run", "state", "started_at", "ended_at"),
    *("examined", "matched", "done", "refused", "matches", "refusals", "note", "actor"),
)
_LIMIT = ("activity", "concurrency", "rate", "burst", "key", "aging_seconds", "paused", "more", "out", "waiting")
_POOL = ("key", "out", "waiting", "waiting_by_priority", "oldest_asked_at", "next_start_at")
_SCHEDULE = (
    *("name", "id", "cron", "zone", "every_seconds", "offset_seconds", "workflow", "subject", "decider", "signal"),
    *("client_data", "metadata", "retries", "priority", "fairness_key", "overlap", "catch_up_seconds", "paused"),
    *("note", "problem", "created_at", "updated_at", "started", "skipped", "missed", "next_runs", "running"),
    *("queued", "queued_count", "past"),
)
_RUN = ("scheduled_at", "last_at", "count", "state", "cause", "at", "started_at", "workflow_id", "node_id")


def _row(noun: object, names: Iterable[str], **others: Any) -> dict[str, Any]:
    """These fields of a noun, nouns in them with all of theirs; `others` in place of those of the same name."""
    return {name: others[name] if name in others else _plain(getattr(noun, name)) for name in names}


def _plain(value: Any) -> Any:
    """A list's nouns by the names that they have in Python; JSON of the HTTP API has others."""
    if isinstance(value, list):
        return [_row(item, item.__struct_fields__) if isinstance(item, Struct) else item for item in value]
    return value


def wait_row(wait: Wait) -> dict[str, Any]:
    """JSON row of a wait."""
    return _row(wait, _WAIT)


def child_row(child: Child) -> dict[str, Any]:
    """JSON row of a node in a list of children."""
    return {**_row(child, _CHILD), "wait": None if child.wait is None else wait_row(child.wait)}


def workflow_row(workflow: Workflow) -> dict[str, Any]:
    """JSON row of a workflow."""
    return _row(workflow, _WORKFLOW)


def node_row(node: Node) -> dict[str, Any]:
    """JSON row of a node, with all fields."""
    return _row(node, _NODE)


def change_row(change: StatusChange) -> dict[str, Any]:
    """JSON row of an entry of a node's history."""
    return _row(change, _CHANGE)


def job_row(job: Job) -> dict[str, Any]:
    """JSON row of a job, and its progress."""
    return _row(job, _JOB)


def limit_row(limit: ActivityLimit) -> dict[str, Any]:
    """JSON row of a limit, and how it stands."""
    return {**_row(limit, _LIMIT), "pools": [_row(pool, _POOL) for pool in limit.pools]}


def schedule_row(schedule: Schedule) -> dict[str, Any]:
    """JSON row of a schedule, with its runs."""
    runs = {name: [_row(run, _RUN) for run in getattr(schedule, name)] for name in ("running", "queued", "past")}
    return _row(schedule, _SCHEDULE, next_runs=schedule.next_runs(), **runs)


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
    return {**_row(node, ("id", "name", *_ATTEMPTS)), **descendants}


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
