"""Workflows and nodes as the outside sees them, and why a node does not go on."""

from __future__ import annotations

import enum
from typing import ClassVar

import msgspec

from backbeat.schemas.marks import Id, Long, Time
from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus
from backbeat.schemas.messages.values import PRIORITY_DEFAULT, Progress


class WorkflowView(
    msgspec.Struct, gc=False, frozen=True, kw_only=True, array_like=True, tag_field="kind", tag="workflow"
):
    """A workflow as the outside sees it."""

    id: Id  #: the workflow's id
    user_id: Id  #: the client application that owns it
    name: str  #: name of the workflow
    subject: bytes  #: what it is done for: compact JSON text in UTF-8
    decider: str  #: the client's word for who decides
    created_at: Time  #: when it was made, in milliseconds since the epoch
    updated_at: Time  #: when it was last changed, in milliseconds since the epoch
    complete: bool  #: whether it takes no more signals
    paused: bool | None  #: whether nodes that are due wait; null: it never was paused or resumed


# Not by keyword only: made by position it takes a third of the time.
class NodeView(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="node"):
    """A node as the outside sees it, with what it needs of its workflow."""

    id: Id  #: the node's id
    workflow_id: Id  #: the workflow that it is in
    parent_id: Id | None  #: the node above it; null: it is at the top of the workflow
    user_id: Id  #: the client application that runs it
    name: str  #: name of the activity or signal
    mode: Mode  #: how it stands in its siblings' way
    type: str  #: `decision` (signals are), `activity`, `flag` or a word of the client's own
    client_data: bytes  #: JSON object in UTF-8, as whoever made the node gave it
    metadata: bytes  #: JSON object in UTF-8, as whoever made the node gave it
    subject: bytes  #: the workflow's subject: compact JSON text in UTF-8
    decider: str  #: the workflow's decider
    workflow_name: str  #: the workflow's name
    server: ServerStatus  #: where the engine is with it
    client: ClientStatus  #: what the client application last said of it
    created_at: Time  #: when it was made, in milliseconds since the epoch
    fires_at: Time  #: when it was or is due to start, in milliseconds since the epoch
    attempt: int  #: raised at every start. A result names the attempt that it is of
    #: when it expires unless answered, in milliseconds since the epoch; null: it is not waited for, or for ever
    complete_by: Time | None
    retries_remaining: int  #: how many more times it is tried after an error
    retry_interval_seconds: float  #: seconds between retries, as the node was made with (`NewNode`)
    parent_link_id: Id | None  #: the node that can't complete before this one does; null: none
    depth: int  #: levels below the workflow: 1 at the top
    seq: Long  #: grows by creation within the workflow: siblings are ordered by it
    tid: str  #: transaction id of the command that made it, for logs and traces; empty: none
    priority: int = PRIORITY_DEFAULT  #: among nodes that wait for the same limit: 1 goes first, 5 last
    fairness_key: str = ""  #: nodes of one priority that wait for the same limit take turns by it
    waits_for_slot: bool = False  #: started, and its activity's limit leaves no room yet
    #: when this attempt was given its slot, in milliseconds since the epoch; null: its activity has no limit, or it
    #: has no slot
    granted_at: Time | None = None
    #: the first nodes whose results it waits for; empty: it waits for none
    waits_for_results: tuple[Id, ...] = ()
    progress: Progress | None = None  #: of the running attempt; null: none was said
    given_up: bool = False  #: whether it, or a node below that it waited for, was shut down


class WaitKind(enum.StrEnum):
    """Kind of a wait: what a node waits for."""

    PARENT = "parent"  #: its parent's handler, which has not returned
    SIBLING = "sibling"  #: an earlier sibling that is blocking and not closed
    RESULTS = "results"  #: results that it takes, which are not there yet
    TIME = "time"  #: the time at which it is to start
    SLOT = "slot"  #: a slot of its activity's limit
    LIMIT_PAUSED = "limit_paused"  #: the end of a pause of its activity
    WORKFLOW_PAUSED = "workflow_paused"  #: the end of a pause of its workflow
    MESSAGE = "message"  #: a message that somebody sends to its workflow
    CLIENT = "client"  #: a worker of its client that takes it
    WORKER = "worker"  #: the answer of the worker that has taken it
    BACKOFF = "backoff"  #: its next retry
    CHILDREN = "children"  #: nodes below it
    LINKS = "links"  #: nodes elsewhere that are linked to it
    RETRIES_EXHAUSTED = "retries_exhausted"  #: a person: its retries are used up
    SERVER_ERROR = "server_error"  #: a person: the engine failed on it
    ENGINE = "engine"  #: nothing but its turn at the engine


class Wait(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A reason for which a node does not go on."""

    #: what it waits for: a word of WaitKind. A text, so that a client reads those that came after it, too
    kind: str
    sentence: str  #: the wait in words, times in UTC; it goes on from the node's name
    since: Time | None = None  #: since when, in milliseconds since the epoch; null: not known
    #: when it ends by itself, in milliseconds since the epoch; null: by no time
    until: Time | None = None
    subject_id: Id | None = None  #: the node that it waits for; null: it is no node, or there are several
    count: Long = 0  #: how many it waits for: children, links, or results; 0: that is not counted


class Waits(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="waits"):
    """All reasons for which a node does not go on."""

    waits: tuple[Wait, ...]  #: the first is what holds it up now, the others come after it; empty: it waits for nothing


class ChildView(msgspec.Struct, gc=False, frozen=True, array_like=True, kw_only=True):
    """A node as a list of nodes shows it: without its data, and with what it waits for."""

    id: Id  #: the node's id
    parent_id: Id | None  #: the node above it; null: it is at the top of the workflow
    user_id: Id  #: the client application that runs it
    name: str  #: name of the activity or signal
    mode: Mode  #: how it stands in its siblings' way
    type: str  #: `decision` (signals are), `activity`, `flag` or a word of the client's own
    server: ServerStatus  #: where the engine is with it
    client: ClientStatus  #: what the client application last said of it
    created_at: Time  #: when it was made, in milliseconds since the epoch
    changed_at: Time  #: when its status last changed, in milliseconds since the epoch
    attempt: int  #: raised at every start
    retries_remaining: int  #: how many more times it is tried after an error
    depth: int  #: levels below the workflow: 1 at the top
    seq: Long  #: grows by creation within the workflow: siblings are ordered by it
    has_children: bool  #: whether nodes were ever made below it
    children_open: Long  #: nodes right below it that its completion waits for
    error: str  #: the beginning of what its last error says, where it retries or has failed; empty: it does neither
    wait: Wait | None  #: what holds it up now; null: it waits for nothing


class Children(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="children"):
    """A part of a list of nodes."""

    nodes: tuple[ChildView, ...]  #: the nodes, in their order


class PartitionState(enum.StrEnum):
    """State of a partition at the engine that has it."""

    RESTORING = "restoring"  #: its store is made from the state topic; nothing of it is answered
    CATCHING_UP = "catching_up"  #: it applies the commands that had come by then
    READY = "ready"


class EngineView(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="engine", kw_only=True):
    """The engine that has a partition, and how that stands."""

    REPLY: ClassVar[str] = "EngineReply"

    instance: str  #: its instance id
    version: str  #: of Backbeat
    since: Time  #: when the process was started, in milliseconds since the epoch
    partition: int  #: the partition that was asked
    state: PartitionState  #: of the partition
    position: Long = 0  #: offset of the next command that it applies; 0 while it is restored
    waiting: Long = 0  #: commands that it has read and not applied
    restored: float = 1.0  #: of a restore: the share that is done, 0 to 1
    restore_left: Long = 0  #: of a restore: offsets of the state topic that are still to be read
    timers_soon: Long = 0  #: timers that are due within a minute
    timers_overdue: Long = 0  #: timers that are due, and not applied yet
    #: of the first of these, in milliseconds since the epoch: when it was due; null: there is none
    overdue_since: Time | None = None
