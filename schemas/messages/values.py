"""What commands carry: nodes, workflows and schedules to be made, return addresses, sources, pieces of work."""

from __future__ import annotations

import enum

import msgspec

from backbeat.schemas.messages.status import Mode, word


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
    """What a signal does with one of the same workflow and key that still waits (`tree.coalesce`)."""

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
    priority: int | None = None  #: 1 (first) to 5; null: its parent's, else 3
    fairness_key: str | None = None  #: null: its parent's, else none


class NewWorkflow(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """What a workflow is found by, or made from. Its id follows from user, name and subject (`ids.workflow_id`)."""

    user_id: bytes
    name: str
    subject: bytes  #: JSON text, compact UTF-8
    decider: str


class TaskKind(enum.IntEnum):
    """What a task does (`tree.progress`)."""

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
    """A piece of work on one workflow that may be too large for one command (`tree.progress`)."""

    kind: TaskKind
    id: bytes  #: the workflow or node that it is about
    cursor: bytes | None = None  #: the node to go on with
    mark: int = 0  #: seq below which it applies


class LinkWait(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A link on the way of a signal that is looked after: in some workflow a node waits for a signal of another one."""

    child_id: bytes  #: the signal that is waited for
    workflow_id: bytes  #: its workflow, which is looked at next
    name: str  #: of the node that waits, its first characters
    before: int = (
        -1
    )  #: the place on the way of the link that led to that node's workflow; -1: the signal's own workflow


class TimerKind(enum.IntEnum):
    """What a timer is for. A node has at most one at a time."""

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
