"""Point reads: what can be asked of a partition, and how it is answered from the records. Pure, and changes nothing.

A tree is read by following the pointers, a slice at a time: whoever answers a large one lets commands pass in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

import msgspec

from backbeat.schemas.messages.jobs import Jobs
from backbeat.schemas.messages.limits import Limits
from backbeat.schemas.messages.queries import (
    AnyQuery,
    Flush,
    GetDue,
    GetHistory,
    GetJobs,
    GetLimits,
    GetNode,
    GetRetention,
    GetSchedule,
    GetSchedules,
    GetSettings,
    GetTree,
    GetWorkflow,
    WaitNode,
)
from backbeat.schemas.messages.replies import History, Nodes, QueryAnswer, Reason, Rejection
from backbeat.schemas.messages.retention import DueWorkflow, DueWorkflows, RetentionPolicies
from backbeat.schemas.messages.schedules import Schedules
from backbeat.schemas.messages.status import CLOSED, ServerStatus
from backbeat.schemas.messages.views import NodeView
from backbeat.streams.core.effects import node_view, workflow_view
from backbeat.streams.core.limits.views import limit_views
from backbeat.streams.core.records import Node, Workflow
from backbeat.streams.core.schedules.schedule import schedule_view
from backbeat.streams.core.tables import CHUNKS, DUE, JOBS, NODES, SCHEDULES, WORKFLOWS
from backbeat.streams.core.tree import history
from backbeat.streams.core.tree.deactivation import Marks, is_deactivated, is_left_over
from backbeat.streams.core.tree.traverse import RemovedError, walk

from .store import Store, every

_T = TypeVar("_T")


#: Workflows in one answer to GetDue.
DUE_MAX = 1_000


def current_node(store: Store, node: Node, workflow: Workflow, marks: Marks | None = None) -> NodeView:
    """A node as it is now, also where a cancel or reset has not reached its record yet."""
    view = node_view(node, workflow)
    if node.server is not ServerStatus.DEACTIVATED and is_deactivated(store, node, workflow, marks):
        return msgspec.structs.replace(view, server=ServerStatus.DEACTIVATED)
    return view


def find_node(store: Store, node_id: bytes, user_id: bytes | None) -> tuple[Node, Workflow] | None:
    """A node that the user may see, and its workflow."""
    node = store.get(NODES, node_id)
    if node is None or (user_id is not None and node.user_id != user_id):
        return None
    workflow = store.get(WORKFLOWS, node.workflow_id)
    return None if workflow is None or is_left_over(node, workflow) else (node, workflow)


def find_workflow(store: Store, workflow_id: bytes, user_id: bytes | None) -> Workflow | None:
    """A workflow that the user may see."""
    workflow = store.get(WORKFLOWS, workflow_id)
    if workflow is None or (user_id is not None and workflow.user_id != user_id):
        return None
    return workflow


def is_final(store: Store, node_id: bytes) -> bool:
    """Whether a node is complete or deactivated."""
    found = find_node(store, node_id, None)
    return found is not None and (found[0].server in CLOSED or is_deactivated(store, found[0], found[1]))


def answer(query: AnyQuery, store: Store) -> Iterator[QueryAnswer]:
    """The parts of the answer, each at most some hundred nodes. Waits and flushes are not answered here.

    What is removed between two parts ends the answer: the last part is a Rejection then.
    """
    try:
        yield from _answer(query, store)
    except RemovedError as error:
        yield Rejection(Reason.NOT_FOUND, str(error), found="nothing", wanted="what was there when it was asked")


def _answer(query: AnyQuery, store: Store) -> Iterator[QueryAnswer]:
    match query:
        case GetWorkflow():
            workflow = find_workflow(store, query.workflow_id, query.user_id)
            yield workflow_view(workflow) if workflow else _not_found("workflow", query.workflow_id)
        case GetNode() | WaitNode():
            found = find_node(store, query.node_id, query.user_id)
            yield current_node(store, *found) if found else _not_found("node", query.node_id)
            if found and isinstance(query, WaitNode):
                yield from _history(store, found[0])
        case GetHistory():
            found = find_node(store, query.node_id, query.user_id)
            if found is None:
                yield _not_found("node", query.node_id)
            else:
                yield from _history(store, found[0])
        case GetTree():
            workflow = find_workflow(store, query.workflow_id, query.user_id)
            if workflow is None:
                yield _not_found("workflow", query.workflow_id)
            else:
                yield from _tree(store, workflow, query)
        case GetSettings():
            yield store.meta.settings
        case GetLimits():
            yield from _parts(limit_views(store, query.user_id), Limits)
        case GetSchedule():
            schedule = store.get(SCHEDULES, query.schedule_id)
            known = schedule is not None and query.user_id in (None, schedule.plan.user_id)
            yield schedule_view(schedule) if schedule and known else _not_found("schedule", query.schedule_id)
        case GetSchedules():
            seen = (each for each in every(store, SCHEDULES) if query.user_id in (None, each.plan.user_id))
            yield from _parts(map(schedule_view, seen), Schedules)
        case GetJobs():
            yield from _jobs(store, query)
        case GetRetention():
            yield RetentionPolicies(tuple(store.meta.retention.values()))
        case GetDue():
            yield _due(store, query)
        case Flush():
            raise AssertionError("a flush is answered by the commit")


#: A part of an answer is no longer than this, unless one thing alone is.
_PART_ITEMS = 200
_PART_BYTES = 262_144
_pack = msgspec.msgpack.Encoder().encode


def _parts(
    items: Iterable[_T], make: Callable[[tuple[_T, ...]], QueryAnswer], between: Callable[[], None] = lambda: None
) -> Iterator[QueryAnswer]:
    """An answer of many things, in parts that fit into records; at least one."""
    part: list[_T] = []
    size = 0
    for item in items:
        item_bytes = len(_pack(item))
        if part and (len(part) >= _PART_ITEMS or size + item_bytes > _PART_BYTES):
            yield make(tuple(part))
            between()
            part, size = [], 0
        part.append(item)
        size += item_bytes
    yield make(tuple(part))


def _due(store: Store, query: GetDue) -> DueWorkflows:
    after = None
    if query.after_due_at is not None and query.after_id is not None:
        after = query.after_due_at, query.after_id
    found: list[DueWorkflow] = []
    size = 0
    for (due_at, workflow_id), _ in store.scan(DUE, after, min(max(query.limit, 1), DUE_MAX)):
        workflow = store.get(WORKFLOWS, workflow_id)
        assert workflow is not None, "a workflow that is due is not stored"
        due = DueWorkflow(workflow_id, workflow.user_id, workflow.name, due_at, revision=workflow.removal_number)
        size += len(_pack(due))
        if found and size > _PART_BYTES:
            break  # Whoever asked goes on behind the last one.
        found.append(due)
    return DueWorkflows(tuple(found))


def _tree(store: Store, workflow: Workflow, query: GetTree) -> Iterator[QueryAnswer]:
    after = None if query.after is None else store.get(NODES, query.after)
    if query.after is not None and (after is None or after.workflow_id != workflow.id or is_left_over(after, workflow)):
        yield Rejection(
            Reason.INVALID_PARAMETERS,
            f"No node of this workflow has the id {query.after.hex()}",
            found="nothing",
            wanted="a node of the workflow, as the one to go on after",
        )
        return
    if query.limit is not None and query.limit < 1:
        yield Rejection(Reason.INVALID_PARAMETERS, "A page has at least one node", str(query.limit), "1 or more")
        return
    yield workflow_view(workflow)
    marks: Marks = {}
    nodes = islice(walk(store, workflow, top_level_only=query.top_level_only, after=after), query.limit)
    # Commands may come in between two parts.
    yield from _parts((current_node(store, node, workflow, marks) for node in nodes), Nodes, between=marks.clear)


def _history(store: Store, node: Node) -> Iterator[History]:
    for number in range(node.history_chunks):
        chunk = store.get(CHUNKS, (node.id, number))
        if chunk is None:
            raise RemovedError(f"The node {node.id.hex()} was removed while its history was read")
        yield History(tuple(history.unpack(chunk)))
    yield History(tuple(history.unpack(node.history)))


def _jobs(store: Store, query: GetJobs) -> Iterator[QueryAnswer]:
    kept = every(store, JOBS) if query.job_id is None else [store.get(JOBS, query.job_id)]
    seen = [job for job in kept if job is not None and query.user_id in (None, job.user_id)]
    yield from _parts(seen, Jobs)


def _not_found(what: str, identity: bytes) -> Rejection:
    return Rejection(Reason.NOT_FOUND, f"No {what} has the id {identity.hex()}", found="nothing", wanted=f"a {what}")
