"""Parts of commands: nodes and workflows to be made, return addresses, sources, pieces of work."""

from __future__ import annotations

import enum
import math
from typing import Annotated

import msgspec

from backbeat.schemas.marks import Id, Long, Mark, Time
from backbeat.schemas.messages.status import Mode, word


class ReplyTo(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """Address of an answer: a partition of the replies topic, and the asker's own number."""

    partition: int  #: partition of `backbeat.replies` that the asker reads
    asker: Id  #: 16 bytes that the asking process chose for itself
    number: Long  #: the asker's count of asks: the answer carries it


class Source(msgspec.Struct, gc=False, frozen=True, array_like=True, order=True):
    """The record of the commands topic whose effect a command is, and which of its effects.

    Repeats are known by it. Only the engine sets it.
    """

    partition: int  #: partition of the commands topic that the command comes from
    offset: Long  #: offset of the record there whose effect it is
    index: int  #: which of that record's effects it is, counted from 0


class Command(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """Fields of every command."""

    #: the command's id: any 16 bytes that no other command has. The same id sent twice makes the same nodes once; the
    #: nodes it makes are named after it
    id: Id
    #: who asks: another's workflows and nodes are not found; null: a part of the system, which may touch anybody's
    user_id: Id | None = None
    tid: str = ""  #: transaction id, passed on through activities and logs; empty: none
    reply_to: ReplyTo | None = None  #: who waits for the answer; null: nobody, and a refusal goes to the dead letters
    #: for a command with a caller's key: a hash of what was asked, so that a repeat gets the same answer and another
    #: body under the same key is refused; null: no answer is remembered
    body_hash: bytes | None = None
    #: set only by the engine, on what one partition sends to another or to itself; null from anybody else
    source: Source | None = None


class Coalesce(enum.IntEnum):
    """Outcome for a signal and one of the same workflow and coalesce_key that still waits."""

    REPLACE = 0  #: it takes the place of that one: a debounce, where its fires_at lies ahead
    DROP = 1  #: it is not made: that one stands for both


COALESCE_WORDS: dict[str, Coalesce] = {word(choice): choice for choice in Coalesce}


class Backoff(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """Growth of the waits between a node's retries, from `retry_interval_seconds`, the first one, on."""

    factor: float = 2.0  #: how many times as long as the one before each wait is, 1 or more
    longest_seconds: float = 3600.0  #: no wait is longer, before jitter
    jitter: float = 0.2  #: share of a wait by which it is longer or shorter, by node and attempt: 0 to 1


def make_backoff(factor: float | None, longest_seconds: float | None, jitter: float | None) -> Backoff | None:
    """A backoff as a text form has it, each number by itself; None where none is given. ValueError names the field."""
    if factor is None and longest_seconds is None and jitter is None:
        return None
    default = Backoff()
    backoff = Backoff(
        default.factor if factor is None else factor,
        default.longest_seconds if longest_seconds is None else longest_seconds,
        default.jitter if jitter is None else jitter,
    )
    for field, value, least, most in (
        ("retry_factor", backoff.factor, 1.0, math.inf),
        ("retry_longest", backoff.longest_seconds, 0.0, math.inf),
        ("retry_jitter", backoff.jitter, 0.0, 1.0),
    ):
        if not least <= value <= most or math.isinf(value):
            bounds = f"{least:g} is the least" if math.isinf(most) else f"{least:g} is the least and {most:g} the most"
            raise ValueError(f"`{field}` is {value:g}, and {bounds}")
    return backoff


class Take(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A result that a node takes: it starts once the result is there.

    It is of a node of the same workflow that comes before it in the tree: where the ways down to the two part, the
    branch of that node is the older one. An ancestor has none for it.
    """

    node_id: Id  #: the node whose result it is
    #: whether it is the results of that node's children, in their order, in place of its own
    of_children: bool = False
    #: JSON text in UTF-8 of the value to be given where there will be no result; null: the taker is deactivated then
    default: bytes | None = None


class Progress(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """Progress of an attempt, as its worker said it last."""

    fraction: float | None = None  #: how much of it is done, 0 to 1; null: not said
    note: str = ""  #: what it is at; empty: not said


class Awaits(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A message that a node waits for: one that is sent to its workflow under the node's name.

    Such a node goes to no worker. The message is its result. It fails where none has come by its timeout.
    """

    #: JSON text in UTF-8 of the result where no message has come by the node's timeout; null: the node fails then
    default: bytes | None = None


class FollowUpKind(enum.StrEnum):
    """Event of a node that an activity follows."""

    FAILURE = "failure"  #: its retries are exhausted
    UNDO = "undo"  #: it was done, and what it is a step of is given up or canceled
    CANCEL = "cancel"  #: it is canceled after it has begun


class FollowUp(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """An activity that the engine adds as a node when something happens to another node.

    Slot 0 of what the new node takes is the error (`failure`: a JSON object) or the result (`undo`) of that node.
    """

    kind: FollowUpKind  #: what has to happen
    name: str  #: name of the activity
    user_id: Id  #: the client application that runs it
    client_data: bytes = b"{}"  #: as that of a node that takes results
    retry_interval_seconds: float = 1200.0  #: as that of a node
    retries: int = 6  #: how many times it is tried again after an error
    backoff: Backoff | None = None  #: how the waits grow; null: as the original's


class NewNode(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A node to be made. Its id follows from the command's id and its place in the command."""

    name: str  #: name of the activity or signal
    user_id: Id  #: the client application that runs the node
    mode: Mode = Mode.BLOCKING  #: how it stands in its siblings' way
    #: `activity`, `decision`, `flag` or a word of the client's own. A flag is never sent: it completes by itself
    type: str = "activity"
    #: JSON object in UTF-8 for whoever runs the node, passed untouched. Its `timeout` is seconds until the node
    #: expires, or null for never
    client_data: bytes = b"{}"
    metadata: bytes = b"{}"  #: JSON object in UTF-8, passed untouched
    fires_at: Time | None = None  #: not to be started before this time, in milliseconds since the epoch; null: at once
    parent_link_id: Id | None = None  #: a node, in any workflow, that can't complete before this one does; null: none
    #: seconds until the first retry with a `backoff`; else what is multiplied by 2^max(0, 6 - retries that are left)
    retry_interval_seconds: float = 1200.0
    retries: int = 6  #: how many times it is tried again after an error
    #: among nodes that wait for the same limit: 1 goes first, 5 last; null: as its parent, else 3
    priority: int | None = None
    #: nodes of one priority that wait for the same limit take turns by it; null: as its parent, else none
    fairness_key: str | None = None
    backoff: Backoff | None = None  #: how the waits grow; null: as the original's, whose number is the interval above
    #: results that it takes: its client data refers to them by their places here (docs/reference/wire.md)
    takes: tuple[Take, ...] = ()
    #: how many of its children may fail for good: each of them counts as done then, without a result
    failures_allowed: int = 0
    #: the message that it waits for, in place of being sent to its client; null: its client runs it
    awaits: Awaits | None = None
    follow_ups: tuple[FollowUp, ...] = ()  #: activities that follow its failure, undo or cancel; one of a kind


class NewWorkflow(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """Key of a workflow to be found, or made. Its id follows from user, name and subject."""

    user_id: Id  #: the client application that owns it
    name: str  #: name of the workflow
    #: what it is done for: any JSON value as compact UTF-8 text, keys in the order sent. Its murmur2 is the partition
    subject: bytes
    decider: str  #: the client's word for who decides. The first one given to a workflow stays


class TaskKind(enum.IntEnum):
    """Kind of a task (`tree.progress`)."""

    SCHEDULE = 1
    READY = 2
    SWEEP = 3
    SHUT_SIBLINGS = 4
    DEACTIVATE_PREVIOUS = 5
    RESUME = 6
    FORGET_LINKS = 7
    REMOVE = 8  #: `mark` is until when the ids are refused
    RETAIN = 9  #: `cursor` is a workflow
    COUNT_RESULTS = 10  #: `mark` is the count of children without a result up to `cursor`
    GIVE_RESULTS = 11
    DELIVER_MESSAGE = 12  #: `mark` is the message's number in its workflow
    UNDO = 13  #: `cursor` is the node to be looked at next, `mark` the count of walks that its holder has begun
    FOLLOW_CANCEL = 14


class Task(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A piece of work on one workflow that may be too large for one command. Only the engine sends it."""

    kind: Annotated[TaskKind, Mark.NUMBER]  #: what is to be done, by the engine's own numbers
    id: Id  #: the workflow or node that it is about
    cursor: Id | None = None  #: the node to go on with; null: from the start
    mark: Long = 0  #: the seq below which it applies


class LinkWait(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A link on the way of a signal that is looked after: in some workflow a node waits for a signal of another one.

    Only the engine sends it.
    """

    child_id: Id  #: the signal that is waited for
    workflow_id: Id  #: its workflow, which is looked at next
    name: str  #: the name of the node that waits, its first characters
    #: the place on the way of the link that led to that node's workflow; -1: the signal's own workflow
    before: int = -1


class TimerKind(enum.IntEnum):
    """Kind of a timer. A node has at most one at a time."""

    START = 1  #: the node is started and waits for its fires_at
    RETRY = 2  #: the node failed and waits to be tried again
    EXPIRY = 3  #: the node is with its client, who has until complete_by
    ANSWER = 4  #: not of a node: a caller's key is forgotten
    SLOT = 5  #: not of a node: a pool's rate allows the next start
    SCHEDULE = 6  #: not of a node: a schedule's next run is due, or its times are to be worked out
    JOB = 7  #: not of a node: a job that has ended is forgotten
    RETENTION = 8  #: of a workflow: it was finished for as long as it is kept
    REFUSAL = 9  #: of a node that was removed: that there ever was one is forgotten


PRIORITY_FIRST, PRIORITY_DEFAULT, PRIORITY_LAST = 1, 3, 5
