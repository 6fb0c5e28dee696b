"""The catalogue: one row for each kind of record that a partition keeps.

All code that depends on the kinds of records goes by these rows: records in memory (`store`) and in RocksDB, the
keys of both and of the changelog, the versions that this code knows, the timers that follow from records. A new kind of
record is a struct and a row here.

Keys in RocksDB and in the changelog. Everything of a workflow begins with `w` and the 7 bytes that its ids share, so it
lies together; then the kind, and the rest of the id. Other keys begin with a letter of their own. `m`
is the meta record; `t` (timers) and `o` (how far the changelog was read) are local to RocksDB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from struct import Struct
from typing import Any, Generic, NamedTuple, TypeVar

from backbeat.schemas.messages.ids import PREFIX_BYTES
from backbeat.schemas.messages.jobs import Job
from backbeat.schemas.messages.limits import Limit
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.coalesce.records import CoalesceIndex
from backbeat.streams.core.inbox.records import Inbox, Line, Message
from backbeat.streams.core.limits.records import FairnessQueue, Pool, SlotTicket
from backbeat.streams.core.links.records import Link
from backbeat.streams.core.records import Meta, Node, StoredReply, Workflow
from backbeat.streams.core.retention.records import ArchiveEntry, SignalTombstone
from backbeat.streams.core.schedules.schedule import Schedule
from backbeat.streams.core.takes.records import Reference

K = TypeVar("K")
R = TypeVar("R")

#: Due time (milliseconds since the epoch), subject id, kind, number. A subject has one timer of a kind.
Timer = tuple[int, bytes, int, int]

META_KEY = b"m"
#: Index of the kind's byte in the key of a workflow's record.
KIND_AT = 1 + PREFIX_BYTES
_NUMBER = Struct(">I")


class KeyForm(NamedTuple, Generic[K]):
    """The encoding of the keys of one kind of record."""

    prefix: bytes  #: its first byte
    kind: bytes  #: the byte of a workflow's records that tells this kind; empty: it belongs to no workflow
    encode: Callable[[K], bytes]
    decode: Callable[[bytes], K]


class TimerFields:
    """The fields of a record from which its timer follows: due time, number, kind. The subject is the record's key."""

    def __init__(self, due: str, number: str | None, *kinds: TimerKind) -> None:
        """Name the fields. `number` null: one timer in its life, without a number. Several kinds: see `timer_kind`."""
        self.kinds = kinds
        self._has_number = number is not None
        #: the values that tell this timer from another one. A function of C: every change of a record calls it
        self.state: Callable[[Any], tuple[int | None, int]] = attrgetter(due, number or due)

    def of(self, key: bytes, record: Any) -> Timer | None:
        """The record's timer; null: it has none."""
        due, number = self.state(record)
        if due is None:
            return None
        kind = self.kinds[0] if len(self.kinds) == 1 else record.timer_kind
        return due, key, kind, number if self._has_number else 0


@dataclass(frozen=True, eq=False, slots=True)
class Table(Generic[K, R]):
    """A kind of record: its struct, key, version and timer."""

    struct: type[R]
    form: KeyForm[K]
    version: int = 1  #: the newest that this code knows
    timer: TimerFields | None = None
    #: this kind's share of a partition's decoded records, one in so many; null: a few records
    cache_part: int | None = 8
    #: such records are often added and deleted between two commits, and then write nothing
    comes_and_goes: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class MetaTable(Generic[K, R]):
    """A table inside the meta record, which each commit writes: few entries, needed by nearly every command."""

    name: str  #: the meta record's field, a dictionary


# --- forms of keys ---------------------------------------------------------------------------------------------------


def _of_workflow(kind: bytes) -> KeyForm[bytes]:
    def encode(identity: bytes) -> bytes:
        return b"w" + identity[:PREFIX_BYTES] + kind + identity[PREFIX_BYTES:]

    return KeyForm(b"w", kind, encode, _id_in)


def _id_in(key: bytes) -> bytes:
    return key[1:KIND_AT] + key[KIND_AT + 1 :]


def _below(
    kind: bytes, encode_rest: Callable[[Any], bytes] = bytes, decode_rest: Callable[[bytes], Any] = bytes
) -> KeyForm[tuple[bytes, Any]]:
    """Keys of several records under one id; the rest of the key tells them apart."""

    def encode(pair: tuple[bytes, Any]) -> bytes:
        identity, rest = pair
        return b"w" + identity[:PREFIX_BYTES] + kind + identity[PREFIX_BYTES:] + encode_rest(rest)

    def decode(key: bytes) -> tuple[bytes, Any]:
        whole = _id_in(key)
        return whole[:16], decode_rest(whole[16:])

    return KeyForm(b"w", kind, encode, decode)


def _by_itself(prefix: bytes) -> KeyForm[bytes]:
    return KeyForm(prefix, b"", lambda identity: prefix + identity, lambda key: key[1:])


def _by_time(prefix: bytes) -> KeyForm[tuple[int, bytes]]:
    return KeyForm(
        prefix,
        b"",
        lambda pair: prefix + pair[0].to_bytes(8, "big") + pair[1],
        lambda key: (int.from_bytes(key[1:9], "big"), key[9:]),
    )


# --- the catalogue ---------------------------------------------------------------------------------------------------

WORKFLOWS: Table[bytes, Workflow] = Table(
    Workflow,
    _of_workflow(b"w"),
    timer=TimerFields("removal_at", "removal_number", TimerKind.RETENTION),
    cache_part=2,
)
NODES: Table[bytes, Node] = Table(
    Node,
    _of_workflow(b"n"),
    timer=TimerFields("timer_at", "timer_number", TimerKind.START, TimerKind.RETRY, TimerKind.EXPIRY),
    cache_part=1,
)
#: By node and number: an older chunk of a node's history, packed (`tree.history`), written once.
CHUNKS: Table[tuple[bytes, int], bytes] = Table(
    bytes, _below(b"h", _NUMBER.pack, lambda rest: _NUMBER.unpack(rest)[0]), cache_part=None
)
#: By target and child.
LINKS: Table[tuple[bytes, bytes], Link] = Table(Link, _below(b"l"), comes_and_goes=True)
#: By taker and slot.
REFERENCES: Table[tuple[bytes, int], Reference] = Table(
    Reference, _below(b"r", _NUMBER.pack, lambda rest: _NUMBER.unpack(rest)[0])
)
#: By workflow.
INBOXES: Table[bytes, Inbox] = Table(Inbox, _of_workflow(b"b"), comes_and_goes=True)
#: By workflow and the message's number.
MESSAGES: Table[tuple[bytes, int], Message] = Table(
    Message, _below(b"m", _NUMBER.pack, lambda rest: _NUMBER.unpack(rest)[0]), cache_part=None, comes_and_goes=True
)
#: By workflow and the nodes' name.
LINES: Table[tuple[bytes, str], Line] = Table(Line, _below(b"a", str.encode, bytes.decode), comes_and_goes=True)
#: By workflow and coalesce_key.
COALESCE_INDEX: Table[tuple[bytes, str], CoalesceIndex] = Table(
    CoalesceIndex, _below(b"c", str.encode, bytes.decode), comes_and_goes=True
)
#: By the command's id.
STORED_REPLIES: Table[bytes, StoredReply] = Table(
    StoredReply, _by_itself(b"i"), timer=TimerFields("forget_at", None, TimerKind.ANSWER), comes_and_goes=True
)

POOLS: Table[bytes, Pool] = Table(
    Pool, _of_workflow(b"p"), timer=TimerFields("timer_at", "timer_number", TimerKind.SLOT), comes_and_goes=True
)
#: By pool and queue key.
FAIRNESS_QUEUES: Table[tuple[bytes, bytes], FairnessQueue] = Table(FairnessQueue, _below(b"q"), comes_and_goes=True)
#: By pool and node.
SLOT_TICKETS: Table[tuple[bytes, bytes], SlotTicket] = Table(
    SlotTicket, _below(b"o"), cache_part=4, comes_and_goes=True
)

SCHEDULES: Table[bytes, Schedule] = Table(
    Schedule, _by_itself(b"c"), timer=TimerFields("timer_at", "timer_number", TimerKind.SCHEDULE)
)

JOBS: Table[bytes, Job] = Table(
    Job, _by_itself(b"j"), timer=TimerFields("forget_at", None, TimerKind.JOB), cache_part=None
)

#: By node.
TOMBSTONES: Table[bytes, SignalTombstone] = Table(
    SignalTombstone,
    _of_workflow(b"d"),
    timer=TimerFields("forget_at", None, TimerKind.REFUSAL),
    comes_and_goes=True,
)
#: By the time of entering the queue, and workflow.
ARCHIVE_QUEUE: Table[tuple[int, bytes], ArchiveEntry] = Table(
    ArchiveEntry, _by_time(b"a"), cache_part=None, comes_and_goes=True
)

TABLES: tuple[Table[Any, Any], ...] = tuple(row for row in tuple(globals().values()) if isinstance(row, Table))
#: The newest version of the meta record that this code knows.
META_VERSION = 2

#: Client id and activity's name (`limit_key`) -> the limit of that activity type.
LIMITS: MetaTable[bytes, Limit] = MetaTable("limits")
#: As `LIMITS`: the first of the limit's pools here.
FIRST_POOLS: MetaTable[bytes, bytes] = MetaTable("pools")
#: As `LIMITS`: the next pool that a change of the limit goes through.
REFILL_CURSORS: MetaTable[bytes, bytes] = MetaTable("refill_cursors")
#: As `LIMITS`: changes that this partition has broadcast and not applied yet.
LIMITS_ORDERED: MetaTable[bytes, Limit] = MetaTable("limits_ordered")
#: Client id and workflow's name -> its retention policy.
RETENTION: MetaTable[bytes, RetentionPolicy] = MetaTable("retention")

META_TABLES: tuple[MetaTable[Any, Any], ...] = (LIMITS, FIRST_POOLS, REFILL_CURSORS, LIMITS_ORDERED, RETENTION)
#: The other fields of the meta record that commands change.
META_FIELDS = ("settings", "limit_revision", "removed")

#: Kind of timer -> the table whose records have such timers.
TIMED: dict[int, Table[bytes, Any]] = {
    kind: table for table in TABLES if table.timer is not None for kind in table.timer.kinds
}

_OF_WORKFLOWS = {table.form.kind: table for table in TABLES if table.form.kind}
_BY_PREFIX = {table.form.prefix: table for table in TABLES if not table.form.kind}


def table_of(key: bytes) -> Table[Any, Any] | None:
    """The table of a record by its key in the changelog; null: the key is of no known kind."""
    if key[:1] == b"w":
        return _OF_WORKFLOWS.get(key[KIND_AT : KIND_AT + 1])
    return _BY_PREFIX.get(key[:1])


def known_versions() -> dict[type, int]:
    """The newest version of each kind of record that this code knows. Packed history has none."""
    return {Meta: META_VERSION} | {table.struct: table.version for table in TABLES if table.struct is not bytes}
