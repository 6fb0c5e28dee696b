"""Answers to commands and queries, and the record of the replies topic that carries them."""

from __future__ import annotations

import enum

import msgspec

from backbeat.schemas.marks import Id, Long
from backbeat.schemas.messages.activities import TakenResult
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.jobs import Jobs
from backbeat.schemas.messages.limits import Limits
from backbeat.schemas.messages.retention import DueWorkflows, RetentionPolicies
from backbeat.schemas.messages.schedules import Schedules, ScheduleView
from backbeat.schemas.messages.views import Children, EngineView, NodeView, Waits, WorkflowView


class Done(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="done"):
    """The command was carried out."""

    changed: bool = True  #: whether something changed: false where the node was deactivated and nothing happened


class Made(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="made"):
    """The nodes that were made."""

    ids: tuple[Id, ...]  #: their ids, in the order in which the nodes were given


class Reason(enum.StrEnum):
    """Reason of a refusal of a command or query."""

    NOT_FOUND = "not_found"
    INVALID_PARAMETERS = "invalid_parameters"
    LIMIT_EXCEEDED = "limit_exceeded"
    UNKNOWN_STATUS = "unknown_status"
    INVALID_CLIENT_STATUS = "invalid_client_status"
    INVALID_SERVER_STATUS = "invalid_server_status"
    WORKFLOW_COMPLETE = "workflow_complete"
    KEY_REUSED = "key_reused"


class Rejection(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="rejection"):
    """A refusal: nothing was changed."""

    reason: Reason  #: which kind of refusal it is
    message: str  #: the refusal in words
    found: str = ""  #: what stood in the way; empty: nothing to say
    wanted: str = ""  #: what would have been accepted, or was attempted; empty: nothing to say


Answer = WorkflowView | NodeView | Done | Made | Limits | ScheduleView | Jobs | Rejection


class Nodes(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="nodes"):
    """A part of a tree."""

    nodes: tuple[NodeView, ...]  #: nodes, parents before children, siblings by seq


class History(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="history"):
    """A part of a node's status changes."""

    changes: tuple[StatusChange, ...]  #: the changes, oldest first


class Results(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="results"):
    """A part of the results that a node takes."""

    results: tuple[TakenResult, ...]  #: the results, by their places in the node's `takes`


class Position(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="position"):
    """A position that a topic has to be read up to."""

    partition: int  #: the partition
    offset: Long  #: the offset to have read up to


QueryAnswer = (
    WorkflowView
    | NodeView
    | Nodes
    | History
    | Results
    | Waits
    | Children
    | Position
    | Settings
    | Limits
    | ScheduleView
    | Schedules
    | Jobs
    | RetentionPolicies
    | EngineView
    | DueWorkflows
    | Rejection
)


class ReplyRecord(msgspec.Struct, frozen=True):
    """An answer, or a part of one, and who asked for it."""

    asker: Id  #: the asker of `reply_to`
    number: Long  #: the number of `reply_to`
    part: int  #: which part of the answer this is, counted from 0
    last: bool  #: whether no further part follows
    tid: str  #: transaction id of the ask; empty: none
    answer: Answer | QueryAnswer  #: the answer itself
