"""What is answered: to commands, to queries, and as a record of the replies topic."""

from __future__ import annotations

import enum

import msgspec

from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.jobs import Jobs
from backbeat.schemas.messages.limits import Limits
from backbeat.schemas.messages.retention import DueWorkflows, RetentionPolicies
from backbeat.schemas.messages.schedules import Schedules, ScheduleView
from backbeat.schemas.messages.views import NodeView, WorkflowView


class Done(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="done"):
    """It was done; `changed` is false where the node was deactivated and nothing happened."""

    changed: bool = True


class Made(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="made"):
    """The nodes that were made, in the order in which they were given."""

    ids: tuple[bytes, ...]


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


class Nodes(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="nodes"):
    """A part of a tree."""

    nodes: tuple[NodeView, ...]


class History(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="history"):
    """A part of a node's status changes."""

    changes: tuple[StatusChange, ...]


class Position(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="position"):
    """How far a topic has to be read."""

    partition: int
    offset: int


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


class ReplyRecord(msgspec.Struct, frozen=True):
    """An answer, or a part of one, and who asked for it."""

    asker: bytes  #: 16 bytes that the asking process chose
    number: int  #: its count of asks
    part: int  #: counted from 0
    last: bool  #: whether no further part follows
    tid: str
    answer: Answer | QueryAnswer
