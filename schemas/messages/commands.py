"""Everything that can be asked of the engine, or that can happen to it. One struct a command.

Who may send what: services, workers and the gateway send the first group; only the engine's own parts send the second.
"""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.ids import limit_id, murmur2
from backbeat.schemas.messages.jobs import JobFilter
from backbeat.schemas.messages.limits import Limit, LimitValues
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.schedules import CATCH_UP_SECONDS, NewSchedule, Overlap
from backbeat.schemas.messages.values import (
    COALESCE_WORDS,
    Coalesce,
    LinkWait,
    NewNode,
    NewWorkflow,
    ReplyTo,
    Source,
    Task,
    TaskKind,
    TimerKind,
)

__all__ = [
    "CATCH_UP_SECONDS",
    "COALESCE_WORDS",
    "Coalesce",
    "LinkWait",
    "NewNode",
    "NewSchedule",
    "NewWorkflow",
    "Overlap",
    "ReplyTo",
    "Source",
    "Task",
    "TaskKind",
]


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
    #: those of them that change, so that two who change different ones lose nothing; empty: all
    names: tuple[str, ...] = ()


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


class StartJob(Command, frozen=True, kw_only=True):
    """Make one change for all nodes or workflows that match, in the partition that it is sent to (`jobs.slices`).

    Its id is the job's, the same in every partition: sent again it changes nothing and is answered with how far the
    job is.
    """

    partition: int
    action: str  #: retry, resolve, shutdown, cancel; pause, resume
    filter: JobFilter = JobFilter()
    response: bytes | None = None  #: JSON text, for resolve and shutdown
    dry_run: bool = False  #: only count


class StopJob(Command, frozen=True, kw_only=True):
    """Go no further with a job, in the partition that it is sent to; what is done stays."""

    partition: int
    job_id: bytes


class ChangeRetention(Command, frozen=True, kw_only=True):
    """A policy for the partition that it is sent to, in place of one for the same client and name."""

    policy: RetentionPolicy
    forget: bool = False  #: there is to be none: these workflows are kept for ever again


class RemoveWorkflow(Command, frozen=True, kw_only=True):
    """A workflow that waited to be archived is archived: remove it, unless something has happened to it since."""

    workflow_id: bytes
    revision: int  #: of the workflow when it was read


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
    #: of a signal whose link is open and may close a cycle: the links that it is followed along
    waits: tuple[LinkWait, ...] = ()
    #: which of them is followed now, `target_id` is its child; behind the last one the signal is added, as the target
    waits_at: int = 0


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


class Continue(Command, frozen=True, kw_only=True):
    """The rest of a command's work."""

    workflow_id: bytes
    tasks: tuple[Task, ...]


class WorkJob(Command, frozen=True, kw_only=True):
    """The next slice of a job, and before it what its newest change has left to be done."""

    partition: int
    job_id: bytes
    workflow_id: bytes | None = None
    tasks: tuple[Task, ...] = ()


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
    | StartJob
    | StopJob
    | ChangeRetention
    | RemoveWorkflow
    | TimerFired
    | OpenLink
    | CloseLink
    | DeliveryFailed
    | FailNode
    | Continue
    | WorkJob
)


def route(command: AnyCommand) -> bytes | None:
    """The id whose first 32 bits say the command's partition; null: it is sent to every partition."""
    match command:
        case CreateWorkflow(workflow=new):
            return route_of_subject(new.subject)
        case Signal() | ChangeWorkflow() | RemoveWorkflow() | Continue():
            return command.workflow_id
        case TimerFired():
            # A caller's key and a job have no route: their timers are sent to the partition that holds them.
            return None if command.kind in (TimerKind.ANSWER, TimerKind.JOB) else command.subject_id
        case OpenLink() | CloseLink():
            return command.target_id
        case ChangeSettings() | SpreadLimit() | ChangeRetention():
            return None
        case ChangeLimit():
            return limit_id(command.client_id, command.activity)
        case AskSlot() | ReleaseSlot() | FillPool():
            return command.pool_id
        case PutSchedule() | ChangeSchedule() | RunSchedule() | ScheduleDue():
            return command.schedule_id
        case StartJob() | StopJob() | WorkJob():
            return command.partition.to_bytes(4, "big")
        case _:
            return command.node_id


def route_of_subject(subject: bytes) -> bytes:
    """The routing bits of a subject's JSON text."""
    return murmur2(subject).to_bytes(4, "big")
