"""Point reads: what can be asked of a partition, and how it is answered from the records. Pure, and changes nothing.

A tree is read by following the pointers, a slice at a time: whoever answers a large one lets commands pass in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

import msgspec

from backbeat.streams.core.jobs.records import Jobs
from backbeat.streams.core.limits.views import limit_views
from backbeat.streams.core.schedules.schedule import ScheduleView, schedule_view
from backbeat.streams.core.tree import history
from backbeat.streams.core.tree.deactivation import Marks, is_deactivated, is_left_over
from backbeat.streams.core.tree.status import CLOSED, ServerStatus
from backbeat.streams.core.tree.traverse import RemovedError, walk

from .commands import ReplyTo
from .effects import Limits, NodeView, Reason, Rejection, WorkflowView, node_view, workflow_view
from .records import Node, RetentionPolicy, Settings, Workflow
from .store import Store

_T = TypeVar("_T")

#: A GetSchedules of this partition is asked of every one; whoever brings it to the engines does that.
ALL_PARTITIONS = -1


class Query(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """What every query carries."""

    reply_to: ReplyTo
    user_id: bytes | None = None  #: who asks: another's workflows and nodes are not found; null: sees all
    deadline: int  #: milliseconds since the epoch, after which nobody waits for the answer any more
    tid: str = ""


class GetWorkflow(Query, frozen=True, kw_only=True):
    """A workflow by id. Answer: WorkflowView."""

    workflow_id: bytes


class GetNode(Query, frozen=True, kw_only=True):
    """A node by id. Answer: NodeView."""

    node_id: bytes


class GetTree(Query, frozen=True, kw_only=True):
    """A workflow and its nodes, parents before children, siblings by seq. Answer: WorkflowView, then Nodes in parts.

    A page of it: at most `limit` nodes, those that come behind the node `after` in this order.
    """

    workflow_id: bytes
    top_level_only: bool = False
    limit: int | None = None
    after: bytes | None = None


class GetHistory(Query, frozen=True, kw_only=True):
    """All status changes of a node, oldest first. Answer: History, in parts."""

    node_id: bytes


class WaitNode(Query, frozen=True, kw_only=True):
    """A node once it is complete or deactivated, or its retries get exhausted, or at the deadline as it is then.

    Answer: NodeView, then History.

    The wait is in the memory of the partition's owner: after a change of owner nobody answers, so ask again.
    """

    node_id: bytes


class Flush(Query, frozen=True, kw_only=True):
    """Commit now. Answer: Position, of the state topic, that contains everything answered before this was asked."""

    partition: int


class GetSettings(Query, frozen=True, kw_only=True):
    """The settings that a partition's commands are applied with. Answer: Settings."""

    partition: int


class GetLimits(Query, frozen=True, kw_only=True):
    """The limits of activity types as a partition knows them, and its pools. Answer: Limits, in parts.

    A user sees its own.
    """

    partition: int


class GetRetention(Query, frozen=True, kw_only=True):
    """The policies of retention of a partition. Answer: RetentionPolicies."""

    partition: int


class GetSchedule(Query, frozen=True, kw_only=True):
    """A schedule by id. Answer: ScheduleView."""

    schedule_id: bytes


class GetSchedules(Query, frozen=True, kw_only=True):
    """The schedules of a partition that the user may see, by id. Answer: Schedules, in parts."""

    partition: int


class GetJobs(Query, frozen=True, kw_only=True):
    """The jobs of a partition that the user may see, or the one of this id. Answer: Jobs, in parts."""

    partition: int
    job_id: bytes | None = None


class GetDue(Query, frozen=True, kw_only=True):
    """The workflows of a partition that wait to be archived, the oldest first. Answer: DueWorkflows.

    It may be fewer than `limit` where there are more: what comes behind the last one is asked for next.
    """

    partition: int
    limit: int = 100  #: 1 to DUE_MAX
    after_due_at: int | None = None  #: only those behind this place: since when a workflow waits, and its id
    after_id: bytes | None = None


class Nodes(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="nodes"):
    """A part of a tree."""

    nodes: tuple[NodeView, ...]


class History(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="history"):
    """A part of a node's status changes."""

    changes: tuple[history.StatusChange, ...]


class Schedules(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="schedules"):
    """A part of a list of schedules."""

    schedules: tuple[ScheduleView, ...]


class Position(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="position"):
    """How far a topic has to be read."""

    partition: int
    offset: int


class RetentionPolicies(
    msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="retention_policies"
):
    """The policies of a partition."""

    policies: tuple[RetentionPolicy, ...]


class DueWorkflow(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A workflow that waits to be archived."""

    workflow_id: bytes
    owner_id: bytes
    name: str
    due_at: int  #: since when, in milliseconds since the epoch
    revision: int  #: what `RemoveWorkflow` names: another one as soon as something happens to the workflow


class DueWorkflows(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="due_workflows"):
    """Some of the workflows that wait to be archived."""

    workflows: tuple[DueWorkflow, ...]


AnyQuery = (
    GetWorkflow
    | GetNode
    | GetTree
    | GetHistory
    | WaitNode
    | Flush
    | GetSettings
    | GetLimits
    | GetSchedule
    | GetSchedules
    | GetJobs
    | GetRetention
    | GetDue
)
QueryAnswer = (
    WorkflowView
    | NodeView
    | Nodes
    | History
    | Position
    | Settings
    | Limits
    | ScheduleView
    | Schedules
    | Jobs
    | RetentionPolicies
    | DueWorkflows
    | Rejection
)
#: Workflows in one answer to GetDue.
DUE_MAX = 1_000


def query_route(query: AnyQuery) -> bytes:
    """The bytes whose first 32 bits say the query's partition."""
    match query:
        case GetWorkflow() | GetTree():
            return query.workflow_id
        case GetSchedule():
            return query.schedule_id
        case Flush() | GetSettings() | GetLimits() | GetSchedules() | GetJobs() | GetRetention() | GetDue():
            return query.partition.to_bytes(4, "big")
        case _:
            return query.node_id


def current_node(store: Store, node: Node, workflow: Workflow, marks: Marks | None = None) -> NodeView:
    """A node as it is now, also where a cancel or reset has not reached its record yet."""
    view = node_view(node, workflow)
    if node.server is not ServerStatus.DEACTIVATED and is_deactivated(store, node, workflow, marks):
        return msgspec.structs.replace(view, server=ServerStatus.DEACTIVATED)
    return view


def find_node(store: Store, node_id: bytes, user_id: bytes | None) -> tuple[Node, Workflow] | None:
    """A node that the user may see, and its workflow."""
    node = store.get_node(node_id)
    if node is None or (user_id is not None and node.user_id != user_id):
        return None
    workflow = store.get_workflow(node.workflow_id)
    return None if workflow is None or is_left_over(node, workflow) else (node, workflow)


def find_workflow(store: Store, workflow_id: bytes, user_id: bytes | None) -> Workflow | None:
    """A workflow that the user may see."""
    workflow = store.get_workflow(workflow_id)
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
            schedule = store.get_schedule(query.schedule_id)
            known = schedule is not None and query.user_id in (None, schedule.plan.user_id)
            yield schedule_view(schedule) if schedule and known else _not_found("schedule", query.schedule_id)
        case GetSchedules():
            seen = (each for each in store.schedules() if query.user_id in (None, each.plan.user_id))
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
    for due_at, workflow_id in store.due_after(after, min(max(query.limit, 1), DUE_MAX)):
        workflow = store.get_workflow(workflow_id)
        assert workflow is not None, "a workflow that is due is not stored"
        due = DueWorkflow(workflow_id, workflow.user_id, workflow.name, due_at, revision=workflow.removal_number)
        size += len(_pack(due))
        if found and size > _PART_BYTES:
            break  # Whoever asked goes on behind the last one.
        found.append(due)
    return DueWorkflows(tuple(found))


def _tree(store: Store, workflow: Workflow, query: GetTree) -> Iterator[QueryAnswer]:
    after = None if query.after is None else store.get_node(query.after)
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
        chunk = store.get_chunk(node.id, number)
        if chunk is None:
            raise RemovedError(f"The node {node.id.hex()} was removed while its history was read")
        yield History(tuple(history.unpack(chunk)))
    yield History(tuple(history.unpack(node.history)))


def _jobs(store: Store, query: GetJobs) -> Iterator[QueryAnswer]:
    kept = store.jobs() if query.job_id is None else [store.get_job(query.job_id)]
    seen = [job for job in kept if job is not None and query.user_id in (None, job.user_id)]
    yield from _parts(seen, Jobs)


def _not_found(what: str, identity: bytes) -> Rejection:
    return Rejection(Reason.NOT_FOUND, f"No {what} has the id {identity.hex()}", found="nothing", wanted=f"a {what}")
