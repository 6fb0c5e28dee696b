"""Everything that the outside must do after a command, as data, in the order in which it is to be done.

Ids in them follow from the command: a replay sends the same ones, and receivers drop repeats by (node, attempt, kind).
"""

from __future__ import annotations

import enum

import msgspec

from backbeat.streams.core.jobs.records import Jobs
from backbeat.streams.core.schedules.schedule import ScheduleView
from backbeat.streams.core.tree.history import StatusChange
from backbeat.streams.core.tree.status import ClientStatus, Mode, ServerStatus

from .commands import AnyCommand, ReplyTo
from .records import PRIORITY_DEFAULT, Limit, Node, Workflow


class WorkflowView(
    msgspec.Struct, gc=False, frozen=True, kw_only=True, array_like=True, tag_field="kind", tag="workflow"
):
    """A workflow as the outside sees it."""

    id: bytes
    user_id: bytes
    name: str
    subject: bytes
    decider: str
    created_at: int
    updated_at: int
    complete: bool
    paused: bool | None


class NodeView(msgspec.Struct, gc=False, frozen=True, kw_only=True, array_like=True, tag_field="kind", tag="node"):
    """A node as the outside sees it, with what it needs of its workflow."""

    id: bytes
    workflow_id: bytes
    parent_id: bytes | None
    user_id: bytes
    name: str
    mode: Mode
    type: str
    client_data: bytes
    metadata: bytes
    subject: bytes
    decider: str
    workflow_name: str
    server: ServerStatus
    client: ClientStatus
    created_at: int
    fires_at: int
    attempt: int
    complete_by: int | None
    retries_remaining: int
    retry_interval_seconds: float
    parent_link_id: bytes | None
    depth: int
    seq: int
    tid: str
    priority: int = PRIORITY_DEFAULT
    fairness_key: str = ""
    waits_for_slot: bool = False  #: started, and its activity type's limit leaves no room yet
    granted_at: int | None = None  #: when this attempt was given its slot; null: it has none


class Done(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="done"):
    """It was done; `changed` is false where the node was deactivated and nothing happened."""

    changed: bool = True


class Made(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="made"):
    """The nodes that were made, in the order in which they were given."""

    ids: tuple[bytes, ...]


class PoolView(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """The slots of one key of a limit, as the outside sees them."""

    key: str  #: JSON text; empty: the limit has none
    out: int
    waiting: tuple[int, ...]  #: nodes by priority, from 1
    oldest_asked_at: int | None  #: since when the oldest of them waits
    next_start_at: int | None  #: when the rate allows the next start; null: the rate holds nobody up


class LimitView(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A limit, and what goes on at its pools in one partition."""

    limit: Limit
    pools: tuple[PoolView, ...] = ()
    more: bool = False  #: there are more pools than these


class Limits(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="limits"):
    """Limits, each as one partition knows it."""

    limits: tuple[LimitView, ...]


class Reason(enum.StrEnum):
    """Why a command was refused."""

    NOT_FOUND = "not_found"
    INVALID_PARAMETERS = "invalid_parameters"
    LIMIT_EXCEEDED = "limit_exceeded"
    UNKNOWN_STATUS = "unknown_status"
    INVALID_CLIENT_STATUS = "invalid_client_status"
    INVALID_SERVER_STATUS = "invalid_server_status"
    WORKFLOW_COMPLETE = "workflow_complete"
    KEY_REUSED = "key_reused"


class Rejection(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="rejection"):
    """A refusal: nothing was changed. `found` and `wanted` say what stood in the way."""

    reason: Reason
    message: str
    found: str = ""
    wanted: str = ""


Answer = WorkflowView | NodeView | Done | Made | Limits | ScheduleView | Jobs | Rejection


class Reply(msgspec.Struct, gc=False, frozen=True):
    """Answer whoever asked."""

    to: ReplyTo
    answer: Answer
    tid: str


class Refuse(msgspec.Struct, gc=False, frozen=True):
    """Nobody asked for an answer: the refused command goes to the dead letters with the reason."""

    rejection: Rejection


class Ignored(msgspec.Struct, gc=False, frozen=True):
    """The command changed nothing and that is as it should be: a repeat, or a result that came too late."""

    why: str


class FiredEarly(msgspec.Struct, gc=False, frozen=True):
    """A timer's command came before the timer was due: the broker's time was estimated wrongly. It stands again."""

    due: int  #: milliseconds since the epoch


class Dispatch(msgspec.Struct, gc=False, frozen=True):
    """Bring a node to its client's workers."""

    node: NodeView


class Notify(msgspec.Struct, gc=False, frozen=True):
    """Tell a node's client of an error: `name` is the node's, `message` is "Client Error" or "Server Error"."""

    node: NodeView
    name: str
    message: str
    error: bytes  #: JSON object


class Send(msgspec.Struct, gc=False, frozen=True):
    """Send a command to the partition of its route, marked with this one's source and this effect's index."""

    command: AnyCommand


class Broadcast(msgspec.Struct, gc=False, frozen=True):
    """Send a command to every partition, marked as `Send` marks it."""

    command: AnyCommand


class NodeChange(msgspec.Struct, gc=False, frozen=True):
    """One status change of one node."""

    node_id: bytes
    change: StatusChange


class StatusChanged(msgspec.Struct, gc=False, frozen=True):
    """Every status change that the command made, oldest first, for the history topic."""

    workflow_id: bytes
    changes: tuple[NodeChange, ...]


Effect = Reply | Refuse | Ignored | FiredEarly | Dispatch | Notify | Send | Broadcast | StatusChanged


def workflow_view(workflow: Workflow) -> WorkflowView:
    """A workflow as the outside sees it."""
    return WorkflowView(
        id=workflow.id,
        user_id=workflow.user_id,
        name=workflow.name,
        subject=workflow.subject,
        decider=workflow.decider,
        created_at=workflow.created_at,
        updated_at=workflow.updated_at,
        complete=workflow.complete,
        paused=workflow.paused,
    )


def node_view(node: Node, workflow: Workflow) -> NodeView:
    """A node as the outside sees it."""
    return NodeView(
        id=node.id,
        workflow_id=node.workflow_id,
        parent_id=node.parent_id,
        user_id=node.user_id,
        name=node.name,
        mode=node.mode,
        type=node.type,
        client_data=node.client_data,
        metadata=node.metadata,
        subject=workflow.subject,
        decider=workflow.decider,
        workflow_name=workflow.name,
        server=node.server,
        client=node.client,
        created_at=node.created_at,
        fires_at=node.fires_at,
        attempt=node.attempt,
        complete_by=node.complete_by,
        retries_remaining=node.retries_remaining,
        retry_interval_seconds=node.retry_interval_seconds,
        parent_link_id=node.parent_link_id,
        depth=node.depth,
        seq=node.seq,
        tid=node.tid,
        priority=node.priority,
        fairness_key=node.fairness_key,
        waits_for_slot=node.slot is not None and node.server is ServerStatus.STARTED,
        granted_at=node.granted_at,
    )
