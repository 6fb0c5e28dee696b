"""Queries: answers from a partition's records. Pure; changes nothing.

A tree is read by its pointers, part by part: commands may be applied between two parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar

import msgspec

from backbeat.schemas.messages.jobs import Jobs
from backbeat.schemas.messages.limits import Limits
from backbeat.schemas.messages.queries import (
    AnyQuery,
    Flush,
    GetChildren,
    GetDue,
    GetEngine,
    GetHistory,
    GetJobs,
    GetLimits,
    GetNode,
    GetNodes,
    GetPath,
    GetResults,
    GetRetention,
    GetSchedule,
    GetSchedules,
    GetSettings,
    GetTree,
    GetWaits,
    GetWorkflow,
    WaitNode,
)
from backbeat.schemas.messages.replies import History, Nodes, QueryAnswer, Reason, Rejection, Results
from backbeat.schemas.messages.retention import DueWorkflow, DueWorkflows, RetentionPolicies
from backbeat.schemas.messages.schedules import Schedules
from backbeat.schemas.messages.status import CLOSED, ServerStatus
from backbeat.schemas.messages.views import Children, ChildView, NodeView, Waits
from backbeat.streams.core.effects import node_view, workflow_view
from backbeat.streams.core.limits.views import limit_views
from backbeat.streams.core.records import Node, Workflow
from backbeat.streams.core.schedules.schedule import schedule_view
from backbeat.streams.core.tables import ARCHIVE_QUEUE, CHUNKS, JOBS, NODES, SCHEDULES, WORKFLOWS
from backbeat.streams.core.takes.reading import is_place, results, waits_for
from backbeat.streams.core.traverse import RemovedError, walk
from backbeat.streams.core.tree import history
from backbeat.streams.core.tree.deactivation import Marks, belongs_to_removed_workflow, is_deactivated
from backbeat.streams.core.waits.children import child_view, children_from, path_to
from backbeat.streams.core.waits.waits import waits_of

from .store import Store, every

_T = TypeVar("_T")


#: Workflows in one answer to GetDue.
DUE_MAX = 1_000


def current_node(store: Store, node: Node, workflow: Workflow, marks: Marks | None = None) -> NodeView:
    """The view of a node as it is now, also where a cancel or reset has not reached its record yet."""
    view = node_view(node, workflow)
    if node.server is ServerStatus.DEACTIVATED:
        return view
    if is_deactivated(store, node, workflow, marks):
        return msgspec.structs.replace(view, server=ServerStatus.DEACTIVATED)
    if node.flow is not None and node.flow.missing:
        return msgspec.structs.replace(view, waits_for_results=waits_for(store, node))
    return view


def find_node(store: Store, node_id: bytes, user_id: bytes | None) -> tuple[Node, Workflow] | None:
    """A node that the user may see, and its workflow; null: there is none. `user_id` null: every user's."""
    node = store.get(NODES, node_id)
    if node is None or (user_id is not None and node.user_id != user_id):
        return None
    workflow = store.get(WORKFLOWS, node.workflow_id)
    return None if workflow is None or belongs_to_removed_workflow(node, workflow) else (node, workflow)


def find_workflow(store: Store, workflow_id: bytes, user_id: bytes | None) -> Workflow | None:
    """A workflow that the user may see; null: there is none. `user_id` null: every user's."""
    workflow = store.get(WORKFLOWS, workflow_id)
    if workflow is None or (user_id is not None and workflow.user_id != user_id):
        return None
    return workflow


def is_final(store: Store, node_id: bytes) -> bool:
    """True when a node is complete or deactivated."""
    pair = find_node(store, node_id, None)
    return pair is not None and (pair[0].server in CLOSED or is_deactivated(store, pair[0], pair[1]))


def answer(query: AnyQuery, store: Store) -> Iterator[QueryAnswer]:
    """The parts of an answer, each at most 50 items or 256 KiB. Flushes are answered by the commit.

    A removal between two parts ends the answer: the last part is a Rejection then.
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
            pair = find_node(store, query.node_id, query.user_id)
            yield current_node(store, *pair) if pair else _not_found("node", query.node_id)
            if pair and isinstance(query, WaitNode):
                yield from _history(store, pair[0])
        case GetHistory():
            pair = find_node(store, query.node_id, query.user_id)
            if pair is None:
                yield _not_found("node", query.node_id)
            else:
                yield from _history(store, pair[0])
        case GetResults():
            yield from _results(store, query)
        case GetWaits():
            pair = find_node(store, query.node_id, query.user_id)
            if pair is None:
                yield _not_found("node", query.node_id)
            else:
                yield Waits(() if is_deactivated(store, *pair) else tuple(waits_of(store, *pair)))
        case GetNodes():
            yield from _parts(_nodes_by_id(store, query), Children)
        case GetPath():
            pair = _find_shown(store, query.node_id, query.user_id)
            if pair is None:
                yield _not_found("node", query.node_id)
            else:
                yield from _child_views(store, path_to(store, pair[0]), pair[1], query.user_id)
        case GetChildren():
            yield from _children(store, query)
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
            is_visible = schedule is not None and query.user_id in (None, schedule.plan.user_id)
            yield schedule_view(schedule) if schedule and is_visible else _not_found("schedule", query.schedule_id)
        case GetSchedules():
            visible = filter(lambda item: query.user_id in (None, item.plan.user_id), every(store, SCHEDULES))
            yield from _parts(map(schedule_view, visible), Schedules)
        case GetJobs():
            yield from _jobs(store, query)
        case GetRetention():
            policies = store.meta.retention.values()
            yield RetentionPolicies(tuple(policy for policy in policies if query.user_id in (None, policy.owner_id)))
        case GetDue():
            yield _due(store, query)
        case Flush() | GetEngine():
            raise AssertionError("a flush is answered by the commit, what an engine is by its loop")


def _results(store: Store, query: GetResults) -> Iterator[QueryAnswer]:
    pair = find_node(store, query.node_id, query.user_id)
    if pair is None:
        yield _not_found("node", query.node_id)
    elif query.results_max is not None and query.results_max < 1:
        message = f"results_max is {query.results_max}; it must be 1 or more"
        yield Rejection(Reason.INVALID_PARAMETERS, message, str(query.results_max), "1 or more")
    elif query.after is not None and not is_place(store, pair[0], query.slot, query.after):
        message = f"The result of {query.after.hex()} is not taken at slot {query.slot} of this node"
        yield Rejection(Reason.INVALID_PARAMETERS, message, "another node", "one whose result it has given")
    else:
        place, most, failures_only = (query.slot, query.after), query.results_max, query.failures_only
        taken = results(store, pair[0], *place, results_max=most, failures_only=failures_only)
        yield from _parts(taken, Results)


#: Bounds of one part of an answer; a single item may be larger. Commands wait while a part is made: fifty nodes with
#: what each waits for take a millisecond or two.
_PART_ITEMS = 50
_PART_BYTES = 262_144
_pack = msgspec.msgpack.Encoder().encode


def _parts(
    items: Iterable[_T | None],
    make: Callable[[tuple[_T, ...]], QueryAnswer],
    between: Callable[[], None] = lambda: None,
) -> Iterator[QueryAnswer]:
    """An answer of many items, in parts that fit into records; at least one part. A null counts, and is left out."""
    part: list[_T] = []
    size = count = 0
    for item in items:
        item_bytes = 0 if item is None else len(_pack(item))
        if count >= _PART_ITEMS or (part and size + item_bytes > _PART_BYTES):
            yield make(tuple(part))
            between()
            part, size, count = [], 0, 0
        count += 1
        if item is not None:
            part.append(item)
            size += item_bytes
    yield make(tuple(part))


def _due(store: Store, query: GetDue) -> DueWorkflows:
    after = None
    if query.after_due_at is not None and query.after_id is not None:
        after = query.after_due_at, query.after_id
    due_workflows: list[DueWorkflow] = []
    size = 0
    for (due_at, workflow_id), _ in store.scan(ARCHIVE_QUEUE, after, min(max(query.limit, 1), DUE_MAX)):
        workflow = store.get(WORKFLOWS, workflow_id)
        assert workflow is not None, "a workflow that is due is not stored"
        due = DueWorkflow(workflow_id, workflow.user_id, workflow.name, due_at, revision=workflow.removal_number)
        size += len(_pack(due))
        if due_workflows and size > _PART_BYTES:
            break  # The caller goes on behind the last one.
        due_workflows.append(due)
    return DueWorkflows(tuple(due_workflows))


def _tree(store: Store, workflow: Workflow, query: GetTree) -> Iterator[QueryAnswer]:
    after = None if query.after is None else store.get(NODES, query.after)
    if query.after is not None and (
        after is None or after.workflow_id != workflow.id or belongs_to_removed_workflow(after, workflow)
    ):
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
    views = map(partial(current_node, store, workflow=workflow, marks=marks), nodes)
    yield from _parts(views, Nodes, between=marks.clear)


def _children(store: Store, query: GetChildren) -> Iterator[QueryAnswer]:
    parent: Node | Workflow | None = find_workflow(store, query.parent_id, query.user_id)
    workflow = parent
    if parent is None and (pair := find_node(store, query.parent_id, query.user_id)) is not None:
        parent, workflow = pair
    if parent is None or not isinstance(workflow, Workflow):
        yield _not_found("node or workflow", query.parent_id)
        return
    parent_id = None if parent is workflow else parent.id
    places: list[Node | None] = []
    for place_id in (query.first, query.after):
        place = None if place_id is None else store.get(NODES, place_id)
        if place_id is not None and (
            place is None
            or (place.workflow_id, place.parent_id) != (workflow.id, parent_id)
            or belongs_to_removed_workflow(place, workflow)
        ):
            message = f"No node right below has the id {place_id.hex()}"
            yield Rejection(Reason.INVALID_PARAMETERS, message, found="nothing", wanted="a child, to begin there")
            return
        places.append(place)
    if query.limit is not None and query.limit < 1:
        yield Rejection(Reason.INVALID_PARAMETERS, "A page has at least one node", str(query.limit), "1 or more")
        return
    children = islice(children_from(store, parent, *places), query.limit)
    yield from _child_views(store, children, workflow, query.user_id)


def _find_shown(store: Store, node_id: bytes, user_id: bytes | None) -> tuple[Node, Workflow] | None:
    """A node that the user runs or has in a tree of its own, and its workflow; null: there is none."""
    pair = find_node(store, node_id, None)
    return None if pair is None or user_id not in (None, pair[0].user_id, pair[1].user_id) else pair


def _nodes_by_id(store: Store, query: GetNodes) -> Iterator[ChildView | None]:
    for node_id in query.node_ids:
        pair = _find_shown(store, node_id, query.user_id)
        if pair is None:
            yield None
        else:
            yield from _visible_views(store, pair[:1], pair[1], query.user_id, {})


def _child_views(
    store: Store, nodes: Iterable[Node], workflow: Workflow, user_id: bytes | None
) -> Iterator[QueryAnswer]:
    marks: Marks = {}
    # Commands may come in between two parts.
    yield from _parts(_visible_views(store, nodes, workflow, user_id, marks), Children, between=marks.clear)


def _visible_views(
    store: Store, nodes: Iterable[Node], workflow: Workflow, user_id: bytes | None, marks: Marks
) -> Iterator[ChildView]:
    for node in nodes:
        view = child_view(store, node, workflow, marks)
        if user_id not in (None, node.user_id, workflow.user_id):
            # Errors and waits are the client's that runs the node, and the workflow's owner's.
            view = msgspec.structs.replace(view, error="", wait=None)
        yield view


def _history(store: Store, node: Node) -> Iterator[History]:
    for number in range(node.history_chunks):
        chunk = store.get(CHUNKS, (node.id, number))
        if chunk is None:
            raise RemovedError(f"The node {node.id.hex()} was removed while its history was read")
        yield History(tuple(history.unpack(chunk)))
    yield History(tuple(history.unpack(node.history)))


def _jobs(store: Store, query: GetJobs) -> Iterator[QueryAnswer]:
    stored = every(store, JOBS) if query.job_id is None else [store.get(JOBS, query.job_id)]
    visible = [job for job in stored if job is not None and query.user_id in (None, job.user_id)]
    yield from _parts(visible, Jobs)


def _not_found(kind: str, identity: bytes) -> Rejection:
    return Rejection(Reason.NOT_FOUND, f"No {kind} has the id {identity.hex()}", found="nothing", wanted=f"a {kind}")
