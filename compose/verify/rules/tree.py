"""Workflows as the judge keeps them: plain lists of nodes, each named by its seq. Nothing points, nothing is cached.

Statuses are numbers, as they are stored. A status change is `(status, from, to, at, response)`, where the response is a
digest: payloads are compared, not kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import msgspec

SERVER_WORDS = (
    "pending",
    "ready",
    "started",
    "sent_to_client",
    "processing_children",
    "complete",
    "paused",
    "errored",
    "retrying",
    "retries_exhausted",
    "deactivated",
)
CLIENT_WORDS = ("pending", "ready", "received", "processing", "complete", "errored", "resolved", "shutdown")
MODE_WORDS = ("blocking", "non_blocking", "fire_and_forget")

(
    PENDING,
    READY,
    STARTED,
    SENT,
    PROCESSING_CHILDREN,
    COMPLETE,
    PAUSED,
    ERRORED,
    RETRYING,
    RETRIES_EXHAUSTED,
    DEACTIVATED,
) = range(11)
CLIENT_PENDING, CLIENT_READY, RECEIVED, PROCESSING, CLIENT_COMPLETE, CLIENT_ERRORED, RESOLVED, SHUTDOWN = range(8)
BLOCKING, NON_BLOCKING, FIRE_AND_FORGET = range(3)
CLOSED = (COMPLETE, DEACTIVATED)
CLIENT, SERVER = 0, 1
#: Kinds of timers.
START, RETRY, EXPIRY, ANSWER, SLOT, SCHEDULE, JOB, RETENTION, REFUSAL = range(1, 10)

#: Section 3 of the behaviour document: the statuses that may follow each.
CLIENT_MAY_BECOME: dict[int, tuple[int, ...]] = {
    CLIENT_PENDING: (CLIENT_READY, CLIENT_ERRORED),
    CLIENT_READY: (RECEIVED, CLIENT_ERRORED),
    RECEIVED: (PROCESSING, CLIENT_COMPLETE, CLIENT_ERRORED),
    PROCESSING: (CLIENT_COMPLETE, CLIENT_ERRORED),
    CLIENT_COMPLETE: (CLIENT_COMPLETE,),
    CLIENT_ERRORED: (CLIENT_READY, CLIENT_ERRORED, RESOLVED, SHUTDOWN),
    RESOLVED: (),
    SHUTDOWN: (),
}
SERVER_MAY_BECOME: dict[int, tuple[int, ...]] = {
    PENDING: (READY, DEACTIVATED, ERRORED),
    READY: (STARTED, DEACTIVATED, ERRORED),
    STARTED: (SENT, PAUSED, DEACTIVATED, ERRORED),
    SENT: (PROCESSING_CHILDREN, RETRYING, RETRIES_EXHAUSTED, DEACTIVATED, ERRORED),
    PROCESSING_CHILDREN: (COMPLETE, DEACTIVATED, ERRORED),
    COMPLETE: (DEACTIVATED,),
    PAUSED: (STARTED, DEACTIVATED, ERRORED),
    ERRORED: (READY, DEACTIVATED, ERRORED),
    RETRYING: (READY, DEACTIVATED, ERRORED),
    RETRIES_EXHAUSTED: (READY, PROCESSING_CHILDREN, DEACTIVATED, ERRORED),
    DEACTIVATED: (DEACTIVATED,),
}

#: Of a response whose text is the engine's own: a refusal in words.
ANY_RESPONSE = b"*"

#: Status (client or server), from, to, time, digest of the response.
Entry = tuple[int, int, int, int, bytes]
#: Kind (by `values.TaskKind`), seq of what it is about (0: the workflow), seq to go on with (0: none), mark.
Task = tuple[int, int, int, int]
TASK_SCHEDULE, TASK_READY, TASK_SWEEP, TASK_SHUT, TASK_PREVIOUS, TASK_RESUME, TASK_FORGET_LINKS = range(1, 8)
TASK_REMOVE, TASK_RETAIN, TASK_COUNT_RESULTS, TASK_GIVE_RESULTS = range(8, 12)
TASK_DELIVER, TASK_UNDO, TASK_FOLLOW_CANCEL = range(12, 15)
#: Bounds of the results that go along.
_FIRST_RESULTS_MAX = 100
_FIRST_BYTES_MAX = 262_144
#: Bytes of them that count as a node.
_BYTES_PER_NODE = 16_384
TEN_YEARS_MS = 10 * 365 * 86_400_000
_GROWTHS_MAX = 1_000
_HANDED_BACK_MAX = 64
#: State of a result in whose place the default is.
_DEFAULT = 2


def digest(text: bytes | None) -> bytes:
    """Length and digest of a payload; empty: there is none."""
    return b"" if text is None else len(text).to_bytes(4, "big") + blake2b(text, digest_size=12).digest()


class Parent(msgspec.Struct, array_like=True, kw_only=True):
    """Base of workflow and node: its children, in order."""

    children: list[int] = []
    examined: int = 0  #: children that the walk has passed
    blocked: bool = False  #: the walk has stopped at the newest of them
    active: int = 0  #: the oldest child that no reset of this parent has deactivated; 0: none
    waiting: int = 0  #: children that completion waits for


class Taken(msgspec.Struct, array_like=True):
    """A result that a node takes."""

    producer: int  #: its seq
    of_children: bool  #: the results of its children, in place of its own
    default: bytes | None  #: digest; null: none
    state: int = 0  #: 0 waits, 1 there, 2 the default


class Message(msgspec.Struct, array_like=True):
    """A message that a workflow keeps."""

    number: int
    name: str
    payload: bytes


class FollowUp(msgspec.Struct, array_like=True):
    """An activity that follows a node."""

    kind: str  #: failure, undo, cancel
    name: str
    user_id: bytes
    client_data: bytes  #: as `Spill` keeps it
    timeout: float | None
    retry_interval_seconds: float
    retries: int
    backoff: list[float] | None


class Node(Parent, array_like=True, kw_only=True, gc=False):
    """A node."""

    id: bytes
    seq: int
    parent: int  #: its seq; 0: the workflow
    place: int  #: index among its siblings
    user_id: bytes
    name: str
    mode: int
    type: str
    depth: int
    created_at: int
    fires_at: int
    client_data: bytes  #: as `Spill` keeps it
    metadata: bytes
    link: bytes | None
    retry_interval_seconds: float
    retries: int
    timeout: float | None  #: seconds; -1: the configured default; null: none
    server: int = PENDING
    client: int = CLIENT_PENDING
    complete_by: int | None = None
    attempt: int = 0
    timer_at: int | None = None
    timer_kind: int = 0
    timer_number: int = 0
    tid: str = ""
    priority: int = 3
    fairness_key: str = ""
    slot: bytes | None = None
    slot_number: int = 0
    granted_at: int | None = None
    coalesce_key: str = ""
    #: how the waits between retries grow: factor, the longest in seconds, jitter; null: as the original's
    backoff: list[float] | None = None
    handed_back: int = 0  #: times that a worker did not know its name, since it was made or restarted
    given: int = 0  #: retries that it was made with, where it has a backoff; else 0
    #: a cancel, reset or "deactivate previous" has hit it, and has not come to it yet: it counts as deactivated
    doomed: bool = False
    in_paused: bool = False
    #: links of which it is the target: child -> whether it is still waited for
    links: dict[bytes, bool] = {}
    links_open: int = 0  #: of those, the ones that are
    held: int = 0  #: shutdowns that hold it open until its later siblings are deactivated
    takes: list[Taken] = []
    takers: list[tuple[int, int]] = []  #: seq and slot of those that wait for its result, oldest first
    children_are_taken: bool = False  #: somebody takes the results of its children
    failed: int | None = None  #: children without a result, once they were counted
    counted_from: int = 0  #: the first child whose result its takers get, once counted or dropped; 0: not known
    returns: int = 0  #: the child whose result is its own; 0: none
    lacks_result: bool = False  #: it is complete, and that child has no result
    failures_allowed: int = 0  #: how many of its children may fail for good
    failures: int = 0  #: how many have, and count as done
    is_allowed_failure: bool = False  #: it is one of those
    counted: int = 0  #: children that its takers get
    awaits: bool = False  #: it waits for a message of its name
    default: bytes | None = None  #: JSON text of its result where none comes in time; null: it fails then
    progress: list[Any] | None = None  #: of its attempt: fraction and note
    follow_ups: list[FollowUp] = []
    handler: int = 0  #: the child that was added for its newest failure; 0: none
    gives_up: bool = False  #: it is such a child, and gives up
    given_up: bool = False  #: it, or a node below that it waited for, was shut down
    has_undos: bool = False  #: a node below it can be undone
    undo_due: bool = False  #: what was done below it is to be undone
    undo_from: int = 0  #: the child to begin with; 0: the first that no reset has deactivated
    undo_walks: int = 0  #: times that this was begun
    is_undoing: bool = False  #: the nodes below it are being looked through
    is_canceled: bool = False  #: it is deactivated once they are undone
    is_added: bool = False  #: it handles a failure, or holds undos: no step, and no child whose result is taken
    undo: int = 0  #: the newest node that undoes it; 0: none
    history: list[Entry] = []
    #: bytes of the newest status changes as they are stored, and where older ones were put away, by count
    history_bytes: int = 0
    chunk_ends: list[int] = []
    last_error: bytes | None = None  #: response of the newest error, as `Spill` keeps it; `*`: a refusal in words

    @property
    def is_beside(self) -> bool:
        """True for a signal that takes no turn with the others."""
        return not self.parent and self.mode == NON_BLOCKING

    @property
    def missing(self) -> int:
        """Count of the results that it still waits for."""
        return sum(not taken.state for taken in self.takes)

    @property
    def has_result(self) -> bool:
        """True when it is complete with a result, or was before it was deactivated."""
        if self.lacks_result or self.client not in (CLIENT_COMPLETE, RESOLVED):
            return False
        was_complete = any(status == SERVER and to == COMPLETE for status, _, to, _, _ in self.history)
        return self.server == COMPLETE or (self.server == DEACTIVATED and was_complete)

    @property
    def was_done(self) -> bool:
        """True when it was completed or resolved and is closed, whatever became of it since."""
        was_complete = any(status == SERVER and to == COMPLETE for status, _, to, _, _ in self.history)
        return self.client in (CLIENT_COMPLETE, RESOLVED) and self.server in CLOSED and was_complete

    @property
    def result(self) -> bytes:
        """Digest of the response that is its result: at its end that of the child that it returns, else its own."""
        for status, _, to, _, response in reversed(self.history):
            if status == SERVER and to == COMPLETE and response:
                return response
            if status != SERVER and to in (CLIENT_COMPLETE, RESOLVED):
                return response
        return b""

    @property
    def is_closed(self) -> bool:
        """True when it is complete or deactivated, or counts as that."""
        return self.doomed or self.server in CLOSED

    @property
    def status(self) -> int:
        """The server status as a reader sees it."""
        return DEACTIVATED if self.doomed else self.server


class Tree(Parent, array_like=True, kw_only=True):
    """A workflow and all its nodes."""

    id: bytes
    user_id: bytes
    name: str
    subject: bytes
    decider: str
    created_at: int
    updated_at: int
    complete: bool = False
    paused: bool | None = None
    nodes: list[Node] = []  #: by seq, from 1
    paused_nodes: list[int] = []  #: in the order in which they were paused
    coalescing: dict[str, int] = {}  #: key -> the newest signal of it
    #: offset of the command that went beyond its budget -> the work that it left
    pending: dict[int, list[Task]] = {}
    waits: list[tuple[bytes, bytes, bytes]] = []  #: target, child, the child's workflow
    messages: list[Message] = []  #: oldest first
    lines: dict[str, list[int]] = {}  #: name -> the nodes that wait for messages of it, oldest first
    open_count: int = 0  #: nodes that are not closed
    finished_at: int | None = None
    removal_at: int | None = None
    removal_number: int = 0
    due_at: int | None = None

    def node(self, seq: int) -> Node:
        """A node by its seq."""
        return self.nodes[seq - 1]

    def parent_of(self, node: Node) -> Parent:
        """The node's parent, or this workflow."""
        return self.nodes[node.parent - 1] if node.parent else self

    def below(self, node: Node) -> list[Node]:
        """All nodes below a node, parents first."""
        descendants: list[Node] = []
        stack = list(reversed(node.children))
        while stack:
            child = self.nodes[stack.pop() - 1]
            descendants.append(child)
            stack.extend(reversed(child.children))
        return descendants


def cost_of_results(tree: Tree, taker: Node) -> int:
    """Part of a command's budget that the results going along with a node take."""
    results = size = 0
    for count, result in enumerate(_first_results(tree, taker)):
        length = 0 if result is None else int.from_bytes(result[:4])
        if count == _FIRST_RESULTS_MAX or size + length > _FIRST_BYTES_MAX:
            break
        results += result is not None
        size += length
    return results + size // _BYTES_PER_NODE


def _first_results(tree: Tree, taker: Node) -> Iterator[bytes | None]:
    """Digests of the results, which begin with their lengths; null: a child has none."""
    for taken in taker.takes:
        producer = tree.node(taken.producer)
        if taken.state == _DEFAULT:
            yield taken.default or b""
        elif not taken.of_children:
            yield producer.result
        elif producer.counted_from:
            for seq in producer.children[tree.node(producer.counted_from).place :]:
                child = tree.node(seq)
                if child.is_allowed_failure:
                    yield b""
                else:
                    is_taken = child.mode != FIRE_AND_FORGET and not child.is_added and child.has_result
                    yield child.result if is_taken else None


def wait_ms(node: Node) -> int:
    """Milliseconds until the retry, by a share more or less that follows from node and attempt.

    With a backoff the first wait is the interval, and each is so many times as long as the one before, up to the
    longest; after a thousand it grows no more. Without, the interval is doubled for each of the last six retries that
    is spent.
    """
    if node.backoff is not None:
        factor, longest, share = node.backoff
        return growing_ms(node, node.retry_interval_seconds, node.given - node.retries, (factor, longest, share))
    spent = min(6, max(0, 6 - node.retries))
    return int(min(node.retry_interval_seconds * 1000.0 * (0.8 + 0.4 * _chance(node)) * 2.0**spent, TEN_YEARS_MS))


def growing_ms(node: Node, wait: float, number: int, backoff: tuple[float, float, float]) -> int:
    """The wait of this number, counted from 1; `backoff`: factor, the longest, share of the jitter."""
    factor, longest, share = backoff
    for _ in range(min(number - 1, _GROWTHS_MAX)):
        wait = min(wait * factor, longest)
    return int(min(min(wait, longest) * 1000.0 * (1 - share + 2 * share * _chance(node)), TEN_YEARS_MS))


def _chance(node: Node) -> float:
    """A number from 0 to 1 that follows from node and attempt."""
    return int.from_bytes(blake2b(node.id + node.attempt.to_bytes(8, "big"), digest_size=8).digest(), "big") / 2**64


def failure_statuses(node: Node, *, retriable: bool, attempted: bool) -> tuple[int, int]:
    """The client and server status of a node after a client error."""
    again = goes_elsewhere(node, attempted=attempted) or (retriable and node.retries > 0)
    return CLIENT_ERRORED, RETRYING if again else RETRIES_EXHAUSTED


def goes_elsewhere(node: Node, *, attempted: bool) -> bool:
    """True where a worker without its activity has handed a node back, and another one gets it."""
    return not attempted and node.handed_back < _HANDED_BACK_MAX
