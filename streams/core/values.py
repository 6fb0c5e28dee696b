"""What commands carry: nodes, workflows and schedules to be made, return addresses, sources, pieces of work."""

from __future__ import annotations

import enum

import msgspec

from backbeat.streams.core.tree.status import Mode, word


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
