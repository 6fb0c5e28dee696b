"""What crosses a topic and is no struct of the core: addressed answers, activities, status changes, signals."""

from __future__ import annotations

import enum

import msgspec

from backbeat.streams.core.commands import Coalesce
from backbeat.streams.core.effects import Answer, NodeChange, NodeView
from backbeat.streams.core.queries import QueryAnswer


class ReplyRecord(msgspec.Struct, frozen=True):
    """An answer, or a part of one, and who asked for it."""

    asker: bytes  #: 16 bytes that the asking process chose
    number: int  #: its count of asks
    part: int  #: counted from 0
    last: bool  #: whether no further part follows
    tid: str
    answer: Answer | QueryAnswer


class ActivityKind(enum.StrEnum):
    """What is to be done with a node that was sent."""

    ACTIVITY = "activity"
    DECISION = "decision"  #: a node of the type `decision`
    NOTIFICATION = "notification"  #: an error to be told of; nothing is to be answered


class ActivityRecord(msgspec.Struct, frozen=True):
    """What a worker or deliverer receives. Repeats are known by (node id, attempt, kind)."""

    node: NodeView
    kind: ActivityKind
    notification_name: str | None = None  #: the name of the node
    message: str | None = None  #: "Client Error" or "Server Error"
    error: bytes | None = None  #: JSON object


class StatusChangesRecord(msgspec.Struct, frozen=True):
    """Every status change that one command made in one workflow."""

    workflow_id: bytes
    tid: str
    changes: tuple[NodeChange, ...]  #: oldest first


class SignalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A service's signal, checked: what came as text is here as the engine has it."""

    workflow: str
    subject: bytes  #: JSON text, compact UTF-8 (`subject_text`)
    decider: str
    signal: str
    id: str | None = None  #: what a repeat is known by; null: the record's place in its topic
    tid: str | None = None  #: transaction id of the header `backbeat-tid`; null: made from the command's id
    client_data: bytes = b"{}"  #: JSON object
    metadata: bytes = b"{}"  #: JSON object
    fires_at: int | None = None  #: milliseconds since the epoch
    retry: int | None = None  #: null: the engine's default
    retry_interval: float | None = None  #: seconds; null: the engine's default
    client_id: bytes | None = None  #: who runs it; null: whose topic it is
    parent_link_id: bytes | None = None
    priority: int | None = None  #: among those that wait for the same limit: 1 goes first, 5 last; null: 3
    fairness_key: str | None = None  #: those of one priority take turns by it
    coalesce_key: str | None = None  #: null: it stands for itself
    coalesce: Coalesce = Coalesce.REPLACE
