"""Commands: whatever can be asked of the engine, or can happen to it. One struct a command.

Who may send what: services, workers and the gateway send the first group; only the engine's own parts send the second.
"""

from __future__ import annotations

from typing import Annotated

from backbeat.schemas.marks import Id, Long, Mark, Time
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.jobs import JobFilter
from backbeat.schemas.messages.limits import Limit, LimitValues
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.schedules import NewSchedule, Overlap
from backbeat.schemas.messages.values import (  # noqa: F401 - ReplyTo, Source: of every command
    Coalesce,
    Command,
    LinkWait,
    NewNode,
    NewWorkflow,
    Progress,
    ReplyTo,
    Source,
    Task,
    TimerKind,
)

# --- what services, workers, operators and the gateway send --------------------------------------------------------


class CreateWorkflow(Command, frozen=True, kw_only=True):
    """Find or create a workflow. Answer: WorkflowView."""

    workflow: NewWorkflow  #: what to find it by, or to make it from


class Signal(Command, frozen=True, kw_only=True):
    """Add a node at the top of a workflow, then schedule next. Answer: NodeView."""

    workflow_id: Id  #: the workflow; it follows from `workflow` where that is given
    node: NewNode  #: the node to be made
    workflow: NewWorkflow | None = None  #: the workflow to be found or made first; null: `workflow_id` must exist
    link_open: bool = False  #: whether the partition of the node's link target opened the link and sent the signal on
    #: a signal of the same workflow with the same key that was not sent to its client yet, and this one, become one;
    #: null: it stands for itself
    coalesce_key: str | None = None
    coalesce: Coalesce = Coalesce.REPLACE  #: with a coalesce_key: which of the two remains
    #: whether it starts at once, beside those that wait their turn, and is in nobody's way; else signals take turns
    beside: bool = False


class SendMessage(Command, frozen=True, kw_only=True):
    """A message for a node of a workflow that waits for one of this name (NewNode.awaits). Answer: Done."""

    workflow_id: Id  #: the workflow
    name: str  #: the name of the nodes that wait for it
    payload: bytes = b"null"  #: JSON text in UTF-8: the result of the node that gets it


class ChangeWorkflow(Command, frozen=True, kw_only=True):
    """Flag a workflow. Answer: Done."""

    workflow_id: Id  #: the workflow
    change: str  #: `complete`, `pause` or `resume`


class ChangeNode(Command, frozen=True, kw_only=True):
    """A status of a node from its client: this is how a worker answers an activity. Answer: Done."""

    node_id: Id  #: the node
    #: `deciding` or `processing`, `deciding_complete` or `completed`, `errored`, `resolved`, `shutdown`, `deactivated`,
    #: `canceled`
    status: str
    response: bytes | None = None  #: JSON text in UTF-8 that is kept with the change; null: none
    children: tuple[NewNode, ...] = ()  #: nodes to be added below it before its status changes
    #: the attempt that this is a result of: for one that is over, nothing changes; null: an operator's, of any attempt
    attempt: int | None = None
    retriable: bool = True  #: of `errored`: false says that no attempt could end otherwise: its retries are exhausted
    #: of `errored`: seconds until the next attempt, for this once; null: by the node's own rule
    retry_after_seconds: float | None = None
    #: of `errored`: false says that the worker has no activity of this name, and nobody tried it. It goes to another
    #: worker after a moment, and no retry is spent; after an hour of that it is as any other error
    attempted: bool = True
    #: of `completed`: a child, whose result is the node's own once both are complete; null: the response has it
    returns: Id | None = None
    gives_up: bool = False  #: of `completed`, by what follows its parent's failure: that is shut down, not resolved
    compensate: bool = False  #: of `canceled`: what was done below the node is undone first, the newest first


class AddChildren(Command, frozen=True, kw_only=True):
    """Add children to a node: all of them or none. Answer: Made."""

    node_id: Id  #: the node
    children: tuple[NewNode, ...]  #: the nodes to be made, in their order
    #: the attempt that this is a result of: for one that is over, nothing changes; null: an operator's, of any attempt
    attempt: int | None = None
    attempt_of: Id | None = None  #: the node whose attempt it is, above the one of `node_id`: a group's flag has none


class Heartbeat(Command, frozen=True, kw_only=True):
    """A worker is still at an activity: complete_by is renewed. Refused once the attempt is over. Answer: Done."""

    node_id: Id  #: the node
    attempt: int  #: the attempt that is at work, as the activity had it
    progress: Progress | None = None  #: how far it is; null: as it was


class RestartNode(Command, frozen=True, kw_only=True):
    """Retry a node now. Answer: Done."""

    node_id: Id  #: the node


class ResetNode(Command, frozen=True, kw_only=True):
    """Deactivate everything below a node. Answer: Done."""

    node_id: Id  #: the node


class ScheduleNode(Command, frozen=True, kw_only=True):
    """Schedule next of a node. Answer: Done."""

    node_id: Id  #: the node


class ChangeSettings(Command, frozen=True, kw_only=True):
    """New settings for the partition that it is sent to. Answer: Done."""

    settings: Settings  #: the new settings; only those in names are looked at
    #: the settings that change, so that two who change different ones lose nothing; empty: all of them
    names: tuple[str, ...] = ()


class ChangeLimit(Command, frozen=True, kw_only=True):
    """Limit, pause or resume an activity type of a client. Answer: Limits.

    The partition of the limit's id orders such changes. Without any bound left, and not paused, the limit is removed.
    """

    client_id: Id  #: the client application that runs the nodes
    activity: str  #: the nodes' name
    values: LimitValues | None = None  #: its bounds; null: they stay as they are
    paused: bool | None = None  #: whether nodes that would start wait; null: it stays as it is


class SpreadLimit(Command, frozen=True, kw_only=True):
    """A limit as it is from now on, for every partition; no change where it is not newer. Only the engine sends it."""

    limit: Limit  #: the limit


class PutSchedule(Command, frozen=True, kw_only=True):
    """Make a schedule, or change the one of this user and name. Answer: ScheduleView.

    What it has done stays, and runs that are under way go on.
    """

    schedule_id: Id  #: the id that follows from the schedule's user and name
    schedule: NewSchedule  #: what it is to be
    paused: bool | None = None  #: whether it is paused; null: as it is, and a new one is not


class ChangeSchedule(Command, frozen=True, kw_only=True):
    """Pause, resume or delete a schedule. Answer: Done."""

    schedule_id: Id  #: the schedule
    change: str  #: `pause`, `resume` or `delete`
    note: str = ""  #: why; kept with the schedule


class RunSchedule(Command, frozen=True, kw_only=True):
    """Runs of a schedule beside those that are due: one now, or a backfill. Answer: ScheduleView."""

    schedule_id: Id  #: the schedule
    #: a run for each of these times, ascending, milliseconds since the epoch; none: one run now
    times: tuple[Time, ...] = ()
    #: rule where an earlier run has not ended; null: the schedule's own for a run now, `queue` for given times
    overlap: Overlap | None = None


class StartJob(Command, frozen=True, kw_only=True):
    """Make one change for all nodes or workflows that match, in the partition that it is sent to. Answer: Jobs.

    Its id is the job's, the same in every partition: sent again it changes nothing and is answered with its state.
    """

    partition: int  #: the partition that is asked
    action: str  #: `retry`, `resolve`, `shutdown` or `cancel`; `pause` or `resume`
    filter: JobFilter = JobFilter()  #: what it is about
    response: bytes | None = None  #: for resolve and shutdown: JSON text that is kept
    dry_run: bool = False  #: only count
    note: str = ""  #: why, for people
    actor: str = ""  #: the person who asks for it; empty: a client application or the command line does


class StopJob(Command, frozen=True, kw_only=True):
    """Go no further with a job, in the partition that it is sent to; what is done stays. Answer: Jobs."""

    partition: int  #: the partition that is asked
    job_id: Id  #: the job


class ChangeRetention(Command, frozen=True, kw_only=True):
    """A policy for the partition that it is sent to, in place of one for the same client and name. Answer: Done."""

    policy: RetentionPolicy  #: the policy
    #: whether there is to be none for this client and name any more: what is not removed yet is kept
    forget: bool = False


class RemoveWorkflow(Command, frozen=True, kw_only=True):
    """Remove a workflow that waited to be archived, unless something has happened to it since. Answer: Done."""

    workflow_id: Id  #: the workflow
    revision: Long  #: its revision when it was read (DueWorkflow)


# --- what the engine's own parts send ----------------------------------------------------------------------------


class ScheduleDue(Command, frozen=True, kw_only=True):
    """A schedule's timer is due. Only the engine sends it.

    It counts only if the number is that of the timer that stands. The core reads no time zones: which times have come
    since the last one, and which is next, is worked out by whoever sends this, so that every replay sees the same.
    """

    schedule_id: Id  #: the schedule
    number: Long  #: the number of the setting that fired
    #: the times that have come since those that were dealt with, ascending, milliseconds since the epoch; as many as
    #: one command may have
    times: tuple[Time, ...] = ()
    next_at: Time | None = None  #: the time after them, past or not; null: there is none
    problem: str = ""  #: why no times could be worked out; empty: they were


class TimerFired(Command, frozen=True, kw_only=True):
    """A timer is due. It counts only if it is the timer that stands, by kind and number. Only the engine sends it."""

    #: the node that the timer is of; of a remembered answer the command, of a workflow's retention the workflow
    subject_id: Id
    kind: Annotated[TimerKind, Mark.NUMBER]  #: what the timer is for, by the engine's own numbers
    number: Long  #: the number of the setting that fired


class OpenLink(Command, frozen=True, kw_only=True):
    """A node is, or is about to be, one that a target must wait for. A signal with a link travels inside."""

    target_id: Id  #: the node that waits
    child_id: Id  #: the node that is waited for
    #: the signal that makes the child, to be sent on once the link is open; null: the child is made elsewhere
    signal: Signal | None = None
    strict: bool = False  #: whether to refuse when the target is closed or unknown, instead of going on without a link
    #: of a signal whose link is open and may close a cycle: the links on its way. Set only by the engine
    waits: tuple[LinkWait, ...] = ()
    #: place on the way of the link that is followed now: target_id is its child; behind the last one the signal's node
    waits_at: int = 0


class CloseLink(Command, frozen=True, kw_only=True):
    """A linked node is complete or deactivated, or was never made. Only the engine sends it."""

    target_id: Id  #: the node that waits
    child_id: Id  #: the node that was waited for


class AskSlot(Command, frozen=True, kw_only=True):
    """A node of a limited activity type would start; it waits for a GrantSlot. Only the engine sends it."""

    pool_id: Id  #: the pool of slots: of a client, an activity and a key
    client_id: Id  #: the client application that runs the nodes
    activity: str  #: the nodes' name
    key: str  #: JSON text of what the limit is keyed by; empty: nothing
    node_id: Id  #: the node that asks
    number: int  #: which of the node's askings it is
    priority: int  #: 1 goes first, 5 last
    fairness_key: str  #: nodes of one priority take turns by it


class GrantSlot(Command, frozen=True, kw_only=True):
    """There is room for a node: it starts now, or the slot goes back. Only the engine sends it."""

    pool_id: Id  #: the pool of slots: of a client, an activity and a key
    node_id: Id  #: the node that asks
    number: int  #: which of the node's askings it is


class ReleaseSlot(Command, frozen=True, kw_only=True):
    """A node's slot, or its place in the line, is free: it has ended, or is not to start. Only the engine sends it."""

    pool_id: Id  #: the pool of slots: of a client, an activity and a key
    node_id: Id  #: the node that asks
    number: int  #: which of the node's askings it is


class FillPool(Command, frozen=True, kw_only=True):
    """The rest of what one command's budget did not allow: grants of slots. Only the engine sends it."""

    pool_id: Id  #: the pool of slots: of a client, an activity and a key
    client_id: Id  #: the client application that runs the nodes
    activity: str  #: the nodes' name
    chain: bool  #: whether to go on with all pools of the limit; else with this one


class DeliveryFailed(Command, frozen=True, kw_only=True):
    """An activity could not be brought to its client: a client error, unless the client has answered meanwhile."""

    node_id: Id  #: the node
    attempt: int  #: the attempt that was not delivered
    response: bytes  #: JSON text in UTF-8: {"error": …}


class FailNode(Command, frozen=True, kw_only=True):
    """The engine itself failed on a node: server error. Only the engine sends it."""

    node_id: Id  #: the node
    message: str  #: what went wrong


class Continue(Command, frozen=True, kw_only=True):
    """The rest of a command's work. Only the engine sends it."""

    workflow_id: Id  #: the workflow
    tasks: tuple[Task, ...]  #: what is left to do, in its order


class WorkJob(Command, frozen=True, kw_only=True):
    """The next slice of a job, and before it the rest of its newest change. Only the engine sends it."""

    partition: int  #: the partition that it is of
    job_id: Id  #: the job
    workflow_id: Id | None = None  #: the workflow of `tasks`; null: there are none
    tasks: tuple[Task, ...] = ()  #: what the job's newest change has left to be done, in its order


AnyCommand = (
    CreateWorkflow
    | Signal
    | SendMessage
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
