"""Queries: whatever can be asked of a partition without changing it. One struct a query."""

from __future__ import annotations

import msgspec

from backbeat.schemas.marks import Id, Time
from backbeat.schemas.messages.values import ReplyTo

#: A query of this partition is asked of every one, in their order; whoever brings it to the engines does that.
ALL_PARTITIONS = -1


class Query(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """Fields of every query."""

    reply_to: ReplyTo  #: where the answer goes
    user_id: Id | None = None  #: who asks: another's workflows and nodes are not found; null: sees all
    deadline: Time  #: milliseconds since the epoch after which nobody waits for the answer any more
    tid: str = ""  #: transaction id, passed on to the answer and the logs; empty: none


class GetWorkflow(Query, frozen=True, kw_only=True):
    """A workflow by id. Answer: WorkflowView."""

    workflow_id: Id  #: the workflow


class GetNode(Query, frozen=True, kw_only=True):
    """A node by id. Answer: NodeView."""

    node_id: Id  #: the node


class GetTree(Query, frozen=True, kw_only=True):
    """A workflow and its nodes, parents before children, siblings by seq. Answer: WorkflowView, then Nodes in parts.

    All of them, or a page: at most `limit` nodes, those that come behind the node `after` in this order.
    """

    workflow_id: Id  #: the workflow
    top_level_only: bool = False  #: whether only the nodes at the top are wanted
    limit: int | None = None  #: how many nodes are wanted at most; null: all
    #: the node behind which the page begins, in the order of the answer; null: at the beginning
    after: Id | None = None


class GetWaits(Query, frozen=True, kw_only=True):
    """Why a node does not go on. Answer: Waits."""

    node_id: Id  #: the node


class GetChildren(Query, frozen=True, kw_only=True):
    """The nodes right below a node, or at the top of a workflow, by seq, each with what it waits for.

    Answer: Children, in parts. All of them, or a page: at most `limit`, from `first` on or behind `after`.
    """

    parent_id: Id  #: the node, or the workflow
    limit: int | None = None  #: how many nodes are wanted at most; null: all
    after: Id | None = None  #: the child behind which the page begins; null: at the beginning
    first: Id | None = None  #: the child with which the page begins; null: with the one behind `after`


class GetPath(Query, frozen=True, kw_only=True):
    """The nodes above a node, from the top of its workflow down, and the node itself. Answer: Children, in parts."""

    node_id: Id  #: the node


class GetNodes(Query, frozen=True, kw_only=True):
    """Nodes of a partition by id, each with what it waits for, in the order asked for. Answer: Children, in parts.

    Those that are not there, or that the user may not see, are left out.
    """

    partition: int  #: the partition that is asked
    node_ids: tuple[Id, ...]  #: the nodes: 1000 at most


class GetHistory(Query, frozen=True, kw_only=True):
    """All status changes of a node, oldest first. Answer: History, in parts."""

    node_id: Id  #: the node


class GetResults(Query, frozen=True, kw_only=True):
    """The results that a node takes, as far as they are there. Answer: Results, in parts."""

    node_id: Id  #: the node that takes them
    slot: int = 0  #: place in its `takes` to begin at
    after: Id | None = None  #: only those of this place that are behind the one of this node; null: all
    results_max: int | None = None  #: how many at most, so that they are read page by page; null: all
    failures_only: bool = False  #: only those of children that have failed, where that is allowed


class WaitNode(Query, frozen=True, kw_only=True):
    """A node once it is complete or deactivated, or its retries get exhausted, or at the deadline as it is then.

    Answer: NodeView, then History.

    The wait is in the memory of the partition's owner: after a change of owner nobody answers, so ask again.
    """

    node_id: Id  #: the node


class Flush(Query, frozen=True, kw_only=True):
    """Commit now. Answer: Position, of the state topic, that contains everything answered before this was asked."""

    partition: int  #: the partition that is to commit


class GetSettings(Query, frozen=True, kw_only=True):
    """The settings that a partition's commands are applied with. Answer: Settings."""

    partition: int  #: the partition that is asked


class GetEngine(Query, frozen=True, kw_only=True):
    """The engine that has a partition, and how that stands. Answer: EngineView, while it is restored, too."""

    partition: int  #: the partition that is asked


class GetLimits(Query, frozen=True, kw_only=True):
    """The limits of activity types as a partition knows them, and its pools. Answer: Limits, in parts.

    A user sees its own.
    """

    partition: int  #: the partition that is asked


class GetRetention(Query, frozen=True, kw_only=True):
    """The policies of retention of a partition that the user may see. Answer: RetentionPolicies."""

    partition: int  #: the partition that is asked


class GetSchedule(Query, frozen=True, kw_only=True):
    """A schedule by id. Answer: ScheduleView."""

    schedule_id: Id  #: the schedule


class GetSchedules(Query, frozen=True, kw_only=True):
    """The schedules of a partition that the user may see, by id. Answer: Schedules, in parts."""

    partition: int  #: the partition that is asked


class GetJobs(Query, frozen=True, kw_only=True):
    """The jobs of a partition that the user may see, or the one of this id. Answer: Jobs, in parts."""

    partition: int  #: the partition that is asked
    job_id: Id | None = None  #: only this job; null: all


class GetDue(Query, frozen=True, kw_only=True):
    """The workflows of a partition that wait to be archived, the oldest first. Answer: DueWorkflows.

    They may be fewer than `limit` where there are more: the page behind the last one is asked for next.
    """

    partition: int  #: the partition that is asked
    limit: int = 100  #: how many at most: 1 to 1000
    after_due_at: Time | None = None  #: only those behind this place: `due_at` of a workflow; null: from the first on
    after_id: Id | None = None  #: and its id


AnyQuery = (
    GetWorkflow
    | GetNode
    | GetTree
    | GetHistory
    | GetResults
    | GetWaits
    | GetChildren
    | GetPath
    | GetNodes
    | WaitNode
    | Flush
    | GetSettings
    | GetEngine
    | GetLimits
    | GetSchedule
    | GetSchedules
    | GetJobs
    | GetRetention
    | GetDue
)


def query_route(query: AnyQuery) -> bytes:
    """The bytes whose first 32 bits say the query's partition."""
    match query:
        case GetWorkflow() | GetTree():
            return query.workflow_id
        case GetChildren():
            return query.parent_id
        case GetSchedule():
            return query.schedule_id
        case (
            Flush()
            | GetSettings()
            | GetEngine()
            | GetNodes()
            | GetLimits()
            | GetSchedules()
            | GetJobs()
            | GetRetention()
            | GetDue()
        ):
            return query.partition.to_bytes(4, "big")
        case _:
            return query.node_id
