"""Stored records: workflow, node, stored reply, meta. Rooms have records of their own; `tables` lists all.

Records are msgspec structs, stored as msgpack arrays that begin with a version. New fields go at the end with a
default, so that records of every earlier version load. Times are milliseconds since the epoch; ids are 16 bytes
(`ids`); JSON is kept as the text that came, never parsed.

Children, paused nodes and links are chains of pointers (first, next), so no event ever scans: it follows at most a
few of them.
"""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.limits import Limit
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus
from backbeat.schemas.messages.values import PRIORITY_DEFAULT, Backoff, FollowUp, Progress

#: `timeout_seconds` of a node whose client data has no timeout: the configured default applies when it starts.
TIMEOUT_DEFAULT = -1.0
#: `timeout_seconds` of a node whose client data says null: it never expires.
TIMEOUT_NONE = -2.0


class Flow(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """The results that a node takes, and the takers of its own (`takes`). Replaced as a whole: records share it."""

    taken: int = 0  #: count of the results that it takes
    missing: int = 0  #: of those, the ones that are not there yet: it does not start
    first_taker: bytes | None = None  #: chain of the references to it that wait, by taker and slot, oldest first
    first_slot: int = 0
    last_taker: bytes | None = None
    last_slot: int = 0
    of_children: bool = False  #: results of its children are taken
    failed: int | None = None  #: children without a result; null: not counted
    returns: bytes | None = None  #: the child whose result is this node's own
    #: the first child whose result its own takers get, once they were counted or dropped: older ones are of attempts
    #: that failed
    counted_from: bytes | None = None
    lacks_result: bool = False  #: true: it is complete, and the child that it returns has no result
    failures_allowed: int = 0  #: children that may fail for good (`takes.allowance`)
    failures: int = 0  #: of those, the ones that have
    is_allowed_failure: bool = False  #: true: it has failed for good, which its parent allows
    counted: int = 0  #: children that its takers get, allowed failures included


class Awaiting(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """The wait of a node for a message (`inbox`). Replaced as a whole: records share it."""

    default: bytes | None  #: its result where none has come by its timeout; null: it fails then
    in_line: bool = False  #: it waits now, in the line of its workflow and name
    before: bytes | None = None  #: its neighbors there
    after: bytes | None = None


class FollowUps(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """The activities that follow a node's failure, undo or cancel (`follow_ups`). Replaced as a whole, as `Flow`."""

    wanted: tuple[FollowUp, ...] = ()  #: those that it was made with
    handler: bytes | None = None  #: the node that was added for its newest failure
    gives_up: bool = False  #: it is such a node, and shuts its parent down
    given_up: bool = False  #: it, or a node below that it waited for, was shut down
    has_undos: bool = False  #: a node below it can be undone
    undo_due: bool = False  #: what was done below it is to be undone once nothing below is open
    undo_from: bytes | None = None  #: the child to begin with; null: the first that no reset has deactivated
    undo_walks: int = 0  #: times that this was begun
    is_undoing: bool = False  #: the nodes below it are being looked through
    is_canceled: bool = False  #: it is deactivated once they are undone
    is_added: bool = False  #: the engine has added it: no step to be undone, and no child whose result is taken
    undo: bytes | None = None  #: the newest node that undoes it


class Parent(msgspec.Struct, gc=False, array_like=True, kw_only=True):
    """The ledger of a parent's children. Changed only where a child is added or its status is set (`tree.progress`)."""

    version: int = 1
    first_child: bytes | None = None
    last_child: bytes | None = None  #: the newest child; the next one is chained behind it
    #: the oldest child that no reset of this parent has deactivated: the next reset begins there
    first_active_child: bytes | None = None
    #: children that completion waits for: not fire_and_forget, not complete, not deactivated
    children_open: int = 0
    #: the newest child that the walk has examined: everything up to it was started, is in work, or is closed
    cursor: bytes | None = None
    cursor_seq: int = 0  #: its seq; a ready child at or below it starts without a walk
    #: true: the walk stopped at the cursor, at a blocking and open child; a hint, checked when used
    blocked: bool = False
    #: mark of a cancel or reset: every node below with a smaller seq is deactivated, before its record is
    deactivate_below: int = 0


class Workflow(Parent, array_like=True, kw_only=True):
    """A workflow: the work on one subject, and the ledger of its top-level nodes."""

    id: bytes
    user_id: bytes
    name: str
    subject: bytes  #: JSON text, compact UTF-8, keys in the order sent
    decider: str
    created_at: int
    updated_at: int
    complete: bool = False
    paused: bool | None = None  #: null until first set
    next_seq: int = 1  #: the seq of the next node
    paused_first: bytes | None = None  #: chain of the nodes that wait for a resume, oldest first
    paused_last: bytes | None = None
    watermark: int = 0  #: of "deactivate previous": every node with a smaller seq is deactivated, before its record is
    watermarks: int = 0  #: count of its settings: each one adds a history entry to every node below it
    sweeps: int = 0  #: cancels and resets that are still going through the nodes, slice by slice
    #: open nodes that nothing above them waits for: fire_and_forget, or below a node that was deactivated
    detached_open: int = 0
    continuations_pending: int = 0  #: Continue commands sent and not applied yet
    finished_at: int | None = None  #: last change of a finished workflow under a policy; null: no policy, or unfinished
    removal_at: int | None = None  #: due time of its removal timer (`retention`); null: it has none
    #: of its timer; raised whenever something happens to a finished workflow, never the same as that of an earlier one
    removal_number: int = 0
    due_at: int | None = None  #: time at which it entered the archive queue; null: it is not in it
    #: target, child and the child's workflow of the newest links that hold it up until that signal is over (`links`)
    waits: tuple[bytes, ...] = ()


class Node(Parent, array_like=True, kw_only=True):
    """A node: a unit of work, and the ledger of its children (behaviour document, section 2)."""

    id: bytes
    workflow_id: bytes
    parent_id: bytes | None  #: null at the top
    user_id: bytes  #: the client application that runs it
    name: str
    mode: Mode
    type: str  #: legacy_type: decision, activity, flag, …
    seq: int
    depth: int  #: 1 at the top
    created_at: int
    fires_at: int
    client_data: bytes  #: JSON object
    metadata: bytes  #: JSON object
    parent_link_id: bytes | None  #: the node, in any workflow, that can't complete before this one
    retry_interval_seconds: float
    retries_remaining: int
    timeout_seconds: float  #: TIMEOUT_DEFAULT, TIMEOUT_NONE or seconds
    server: ServerStatus
    client: ClientStatus
    complete_by: int | None = None
    attempt: int = 0  #: raised at every start; a result names the attempt that it is of
    next_sibling: bytes | None = None
    timer_at: int | None = None  #: due time of the node's one timer; null: it has none
    timer_kind: int = 0
    timer_number: int = 0  #: raised at every setting; a fired timer names the number that it is of
    history: bytes = b""  #: the newest status changes (`history`)
    history_chunks: int = 0  #: count of its older chunks, stored in records of their own
    links_first: bytes | None = None  #: chain of the nodes whose parent link this is
    links_open: int = 0
    next_paused: bytes | None = None
    in_paused: bool = False  #: it is in the workflow's chain of paused nodes
    swept: int = 0  #: count of the workflow's watermarks that have their entry in this node's history
    tid: str = ""  #: transaction id of the command that made it, for logs and traces
    priority: int = PRIORITY_DEFAULT  #: among those that wait for the same slots: 1 goes first, 5 last
    fairness_key: str = ""  #: those of one priority take turns by it
    slot: bytes | None = None  #: the pool that it waits for a slot of (started), or has one of (sent to its client)
    slot_number: int = 0  #: raised at every asking; Ask, Grant and Release name it
    granted_at: int | None = None  #: time at which its slot was granted
    coalesce_key: str = ""  #: of a signal (`coalesce`); empty: it has none
    backoff: Backoff | None = None  #: how the waits between retries grow; null: by the original's rule (`core.retry`)
    handed_back: int = 0  #: times that a worker had no activity of its name, since it was made or restarted
    retries: int = 0  #: retries that it was made with, where it has a backoff; else 0
    flow: Flow | None = None  #: null: it takes no result, and nobody has taken one of it
    awaits: Awaiting | None = None  #: null: its client runs it
    progress: Progress | None = None  #: of this attempt, or the last one; null: none was said
    follow_ups: FollowUps | None = None  #: null: nothing follows, and nothing was shut down


class StoredReply(msgspec.Struct, gc=False, array_like=True):
    """The reply to a command with an idempotency key, for its repeats."""

    body_hash: bytes  #: of the request; another body under the same key is refused
    effect: bytes  #: the reply's body, packed
    forget_at: int  #: due time of its timer
    version: int = 1


class Meta(msgspec.Struct, gc=False, array_like=True, kw_only=True):
    """The position and the settings of a partition, committed with its records."""

    version: int = 2
    next_offset: int = 0  #: of the commands topic
    now: int = 0  #: the newest command's time
    topic_id: str = ""  #: of the commands topic
    rules_version: int = 1
    settings: Settings = msgspec.field(default_factory=Settings)
    #: source partition -> (offset, index) of the newest engine command taken from it
    high_water: dict[int, tuple[int, int]] = msgspec.field(default_factory=dict)
    transactional_id: str = ""  #: of the process that wrote it: its open transaction may have to be aborted
    #: client id and activity's name (`limit_key`) -> the limit of that activity type
    limits: dict[bytes, Limit] = msgspec.field(default_factory=dict)
    #: client id and activity's name -> the first of the pools here
    pools: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    #: as `pools`: the next pool that a change of the limit goes through
    refill_cursors: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    #: changes of limits that this partition has broadcast and not applied yet: the newest of each limit
    limits_ordered: dict[bytes, Limit] = msgspec.field(default_factory=dict)
    limit_revision: int = 0  #: of the newest of them
    #: retention policies by client id and workflow name (`retention.policies`)
    retention: dict[bytes, RetentionPolicy] = msgspec.field(default_factory=dict)
    removed: int = 0  #: count of tombstones
