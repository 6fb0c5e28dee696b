"""Everything that can be asked of the engine, or that can happen to it. One struct a command.

Who may send what: services, workers and the gateway send the first group; only the engine's own parts send the second.
"""

from __future__ import annotations

import enum

import msgspec

from .ids import murmur2
from .records import RetentionPolicy, Settings, TimerKind
from .status import Mode, word


class ReplyTo(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """Where the answer goes: a partition of the replies topic, and what the asker knows it by."""

    partition: int
    asker: bytes  #: 16 bytes that the asking process chose
    number: int  #: its count of asks


class Source(msgspec.Struct, gc=False, frozen=True, array_like=True, order=True):
    """The record of the commands topic whose effect a command is, and which of its effects: repeats are known by it."""

    partition: int
    offset: int
    index: int


class Coalesce(enum.IntEnum):
    """What a signal does with one of the same workflow and key that still waits (`coalescing`)."""

    REPLACE = 0  #: it takes the place of that one: a debounce, where its fires_at lies ahead
    DROP = 1  #: it is not made: that one stands for both


COALESCE_WORDS: dict[str, Coalesce] = {word(how): how for how in Coalesce}


class NewNode(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A node to be made (behaviour document, section 2). Its id follows from the command's id and its place in it."""

    name: str
    user_id: bytes  #: who runs it
    mode: Mode = Mode.BLOCKING
    type: str = "activity"
    client_data: bytes = b"{}"  #: JSON object; its `timeout` is seconds, or null for none
    metadata: bytes = b"{}"  #: JSON object
    fires_at: int | None = None  #: milliseconds since the epoch; null: at once
    parent_link_id: bytes | None = None
    retry_interval_seconds: float = 1200.0
    retries: int = 6


class NewWorkflow(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """What a workflow is found by, or made from. Its id follows from user, name and subject (`ids.workflow_id`)."""

    user_id: bytes
    name: str
    subject: bytes  #: JSON text, compact UTF-8
    decider: str


class Command(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """What every command carries."""

    id: bytes  #: 16 bytes; the nodes that the command makes are named after it
    user_id: bytes | None = None  #: who asks; null: a part of the system, which may touch anybody's nodes
    tid: str = ""  #: transaction id, passed on through activities and logs
    reply_to: ReplyTo | None = None
    body_hash: bytes | None = None  #: with a caller's key: what was asked, so that a repeat gets the same answer
    source: Source | None = None  #: set on what one partition's engine sends to another, or to itself


# --- what services, workers, operators and the gateway send --------------------------------------------------------


class CreateWorkflow(Command, frozen=True, kw_only=True):
    """Find or create a workflow."""

    workflow: NewWorkflow


class Signal(Command, frozen=True, kw_only=True):
    """Add a top-level node, then schedule next. With `workflow`, that is found or created first."""

    workflow_id: bytes
    node: NewNode
    workflow: NewWorkflow | None = None
    #: the partition of the node's link target opened the link and sent the signal on
    link_open: bool = False
    #: a signal of the same key that still waits and this one become one; null: it stands for itself
    coalesce_key: str | None = None
    coalesce: Coalesce = Coalesce.REPLACE


class ChangeWorkflow(Command, frozen=True, kw_only=True):
    """`change` is complete, pause or resume."""

    workflow_id: bytes
    change: str


class ChangeNode(Command, frozen=True, kw_only=True):
    """What a client says of a node: a status word of section 5, its response, and children added before it.

    With `attempt` it is a worker's result: one for an attempt that is over changes nothing.
    """

    node_id: bytes
    status: str
    response: bytes | None = None  #: JSON text
    children: tuple[NewNode, ...] = ()
    attempt: int | None = None
    #: of `errored`: whether another attempt could end otherwise; false: its retries count as exhausted
    retriable: bool = True


class AddChildren(Command, frozen=True, kw_only=True):
    """Add children to a node: all of them or none."""

    node_id: bytes
    children: tuple[NewNode, ...]
    attempt: int | None = None


class Heartbeat(Command, frozen=True, kw_only=True):
    """The worker is still at it: `complete_by` is renewed. Refused when the attempt is over, so that it can stop."""

    node_id: bytes
    attempt: int


class RestartNode(Command, frozen=True, kw_only=True):
    """Retry now."""

    node_id: bytes


class ResetNode(Command, frozen=True, kw_only=True):
    """Deactivate everything below a node."""

    node_id: bytes


class ScheduleNode(Command, frozen=True, kw_only=True):
    """Schedule next of a node."""

    node_id: bytes


class ChangeSettings(Command, frozen=True, kw_only=True):
    """New settings for the partition that it is sent to."""

    settings: Settings


class ChangeRetention(Command, frozen=True, kw_only=True):
    """A policy for the partition that it is sent to, in place of one for the same client and name."""

    policy: RetentionPolicy
    forget: bool = False  #: there is to be none: these workflows are kept for ever again


class RemoveWorkflow(Command, frozen=True, kw_only=True):
    """A workflow that waited to be archived is archived: remove it, unless something has happened to it since."""

    workflow_id: bytes
    revision: int  #: of the workflow when it was read


# --- what the engine's own parts send ----------------------------------------------------------------------------


class TimerFired(Command, frozen=True, kw_only=True):
    """A timer is due. It counts only if node, kind and number are those of the timer that stands."""

    subject_id: bytes  #: a node; for the kind ANSWER a command id, for RETENTION a workflow
    kind: TimerKind
    number: int


class OpenLink(Command, frozen=True, kw_only=True):
    """`child` is, or is about to be, a node that `target_id` must wait for. A signal with a link travels inside."""

    target_id: bytes
    child_id: bytes
    signal: Signal | None = None
    #: refuse when the target is closed or unknown, instead of going on without a link
    strict: bool = False


class CloseLink(Command, frozen=True, kw_only=True):
    """`child` is complete or deactivated, or was never made."""

    target_id: bytes
    child_id: bytes


class DeliveryFailed(Command, frozen=True, kw_only=True):
    """An activity could not be brought to its client: a client error, unless the client has answered meanwhile."""

    node_id: bytes
    attempt: int
    response: bytes  #: JSON text, {"error": …}


class FailNode(Command, frozen=True, kw_only=True):
    """The engine itself failed on a node: server error."""

    node_id: bytes
    message: str


class TaskKind(enum.IntEnum):
    """What a task does (`scheduling`)."""

    SCHEDULE = 1
    READY = 2
    SWEEP = 3
    SHUT_SIBLINGS = 4
    DEACTIVATE_PREVIOUS = 5
    RESUME = 6
    FORGET_LINKS = 7
    REMOVE = 8  #: `mark` is until when the ids are refused
    RETAIN = 9  #: `cursor` is a workflow


class Task(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A piece of work on one workflow that may be too large for one command (`scheduling`)."""

    kind: TaskKind
    id: bytes  #: the workflow or node that it is about
    cursor: bytes | None = None  #: the node to go on with
    mark: int = 0  #: seq below which it applies


class Continue(Command, frozen=True, kw_only=True):
    """The rest of a command's work."""

    workflow_id: bytes
    tasks: tuple[Task, ...]


AnyCommand = (
    CreateWorkflow
    | Signal
    | ChangeWorkflow
    | ChangeNode
    | AddChildren
    | Heartbeat
    | RestartNode
    | ResetNode
    | ScheduleNode
    | ChangeSettings
    | ChangeRetention
    | RemoveWorkflow
    | TimerFired
    | OpenLink
    | CloseLink
    | DeliveryFailed
    | FailNode
    | Continue
)


def route(command: AnyCommand) -> bytes | None:
    """The id whose first 32 bits say the command's partition; null: it is sent to every partition."""
    match command:
        case CreateWorkflow(workflow=new):
            return route_of_subject(new.subject)
        case Signal() | ChangeWorkflow() | RemoveWorkflow() | Continue():
            return command.workflow_id
        case TimerFired():
            # A caller's key has no route: its timer is sent to the partition that holds it.
            return None if command.kind == TimerKind.ANSWER else command.subject_id
        case OpenLink() | CloseLink():
            return command.target_id
        case ChangeSettings() | ChangeRetention():
            return None
        case _:
            return command.node_id


def route_of_subject(subject: bytes) -> bytes:
    """The routing bits of a subject's JSON text."""
    return murmur2(subject).to_bytes(4, "big")
