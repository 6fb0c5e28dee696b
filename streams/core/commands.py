"""Everything that can be asked of the engine, or that can happen to it. One struct a command.

Who may send what: services, workers and the gateway send the first group; only the engine's own parts send the second.
"""

from __future__ import annotations

import enum

import msgspec

from .ids import limit_id, murmur2
from .records import Limit, LimitValues, Settings, TimerKind
from .status import Mode


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
    priority: int | None = None  #: 1 (first) to 5; null: its parent's, else 3
    fairness_key: str | None = None  #: null: its parent's, else none


class NewWorkflow(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """What a workflow is found by, or made from. Its id follows from user, name and subject (`ids.workflow_id`)."""

    user_id: bytes
    name: str
    subject: bytes  #: JSON text, compact UTF-8
    decider: str


#: How late a run of a schedule may be where nothing is said: one of the night is still run in the morning.
CATCH_UP_SECONDS = 86_400.0


class Overlap(enum.IntEnum):
    """What is done with a run of a schedule that is due while an earlier one has not ended."""

    SKIP = 0  #: it is left out
    QUEUE = 1  #: it starts when those before it have ended
    CANCEL = 2  #: those that run are canceled, and it starts
    ALLOW = 3  #: it starts beside them


class NewSchedule(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A schedule as it is asked for: when, what is signalled then, and what becomes of runs that meet or are late."""

    user_id: bytes  #: whose it is; its id follows from this and the name (`ids.schedule_id`)
    name: str
    cron: str = ""  #: five fields; empty: it goes by its interval
    zone: str = "UTC"  #: IANA name of the time zone that the fields are read in
    interval_seconds: float = 0.0
    offset_seconds: float = 0.0  #: intervals are counted from this long after the epoch
    workflow: NewWorkflow  #: in its subject, `{scheduled_at}` stands for the time
    node: NewNode  #: the signal
    overlap: Overlap = Overlap.SKIP
    catch_up_seconds: float = CATCH_UP_SECONDS  #: a run that is later than this is missed


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


class ChangeLimit(Command, frozen=True, kw_only=True):
    """Limit, pause or resume an activity type of a client. The partition of the limit's id orders such changes.

    Without any bound left, and not paused, the limit is removed.
    """

    client_id: bytes
    activity: str
    values: LimitValues | None = None  #: null: they stay as they are
    paused: bool | None = None  #: null: it stays as it is


class SpreadLimit(Command, frozen=True, kw_only=True):
    """A limit as it is from now on, for every partition. One that is not newer changes nothing."""

    limit: Limit


class PutSchedule(Command, frozen=True, kw_only=True):
    """Make a schedule, or change the one of this name: what it has done stays, and runs that are under way go on."""

    schedule_id: bytes
    schedule: NewSchedule
    paused: bool | None = None  #: null: as it is; a new one is not paused


class ChangeSchedule(Command, frozen=True, kw_only=True):
    """`change` is pause, resume or delete."""

    schedule_id: bytes
    change: str
    note: str = ""  #: why


class RunSchedule(Command, frozen=True, kw_only=True):
    """Runs beside those that are due: one now, or one for each of these times (a backfill)."""

    schedule_id: bytes
    times: tuple[int, ...] = ()  #: ascending, milliseconds since the epoch; none: now
    overlap: Overlap | None = None  #: null: the schedule's own for a run now, QUEUE for a backfill


# --- what the engine's own parts send ----------------------------------------------------------------------------


class ScheduleDue(Command, frozen=True, kw_only=True):
    """A schedule's timer is due. It counts only if the number is that of the timer that stands.

    The core reads no time zones: which times have come since the last one, and which is next, is worked out by whoever
    sends this, so that every replay sees the same.
    """

    schedule_id: bytes
    number: int
    times: tuple[int, ...] = ()  #: ascending, all of them past; more may follow in a command of its own
    next_at: int | None = None  #: the one after them, past or not; null: there is none
    problem: str = ""  #: why no times could be worked out


class TimerFired(Command, frozen=True, kw_only=True):
    """A timer is due. It counts only if node, kind and number are those of the timer that stands."""

    subject_id: bytes  #: a node; for the kind ANSWER a command id
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


class AskSlot(Command, frozen=True, kw_only=True):
    """A node of a limited type would start. It waits until a GrantSlot comes."""

    pool_id: bytes
    client_id: bytes
    activity: str
    key: str
    node_id: bytes
    number: int  #: of the node's askings
    priority: int
    fairness_key: str


class GrantSlot(Command, frozen=True, kw_only=True):
    """There is room for a node: it starts now, or the slot goes back."""

    pool_id: bytes
    node_id: bytes
    number: int


class ReleaseSlot(Command, frozen=True, kw_only=True):
    """A node's attempt is over, or the node is no longer to start: its slot, or its place in the line, is free."""

    pool_id: bytes
    node_id: bytes
    number: int


class FillPool(Command, frozen=True, kw_only=True):
    """The rest of what one command's budget did not allow: grants of a pool, or of all pools of a changed limit."""

    pool_id: bytes
    client_id: bytes
    activity: str
    chain: bool  #: all pools of the limit, from where it has come to; else this one


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
    | ChangeLimit
    | SpreadLimit
    | AskSlot
    | GrantSlot
    | ReleaseSlot
    | FillPool
    | PutSchedule
    | ChangeSchedule
    | RunSchedule
    | ScheduleDue
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
        case Signal() | ChangeWorkflow() | Continue():
            return command.workflow_id
        case TimerFired():
            # A caller's key has no route: its timer is sent to the partition that holds it.
            return None if command.kind == TimerKind.ANSWER else command.subject_id
        case OpenLink() | CloseLink():
            return command.target_id
        case ChangeSettings() | SpreadLimit():
            return None
        case ChangeLimit():
            return limit_id(command.client_id, command.activity)
        case AskSlot() | ReleaseSlot() | FillPool():
            return command.pool_id
        case PutSchedule() | ChangeSchedule() | RunSchedule() | ScheduleDue():
            return command.schedule_id
        case _:
            return command.node_id


def route_of_subject(subject: bytes) -> bytes:
    """The routing bits of a subject's JSON text."""
    return murmur2(subject).to_bytes(4, "big")
