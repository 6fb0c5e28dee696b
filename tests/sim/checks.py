"""The invariants, looked at while a run goes on. What breaks one ends the run with the seed that repeats it."""

from __future__ import annotations

import shutil
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from backbeat.schemas import codec
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.topics import ACTIVITIES_PREFIX, COMMANDS, REPLIES, STATE
from backbeat.schemas.messages import ids, replies
from backbeat.schemas.messages.activities import ActivityKind
from backbeat.schemas.messages.commands import DeliveryFailed, ScheduleDue, TimerFired
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.records import Meta
from backbeat.streams.core.tables import POOLS
from backbeat.streams.engine.loop import Engine
from backbeat.streams.ports.errors import DamagedStoreError
from backbeat.streams.ports.log import Outbox, Record
from backbeat.streams.ports.state import ChangelogPosition, Snapshot
from backbeat.streams.state.store import META_KEY, PartitionStore
from backbeat.streams.state.stored_timers import TIMER

from .broker import Entry, PartitionLog, Transaction
from .plan import LIMITED
from .reference import Sent

if TYPE_CHECKING:
    from .host import Host
    from .simulation import Simulation

#: Who asks queries: their answers follow from more than the log, so they are looked at on their own.
QUERY_ASKER = b"q" * 16


class ViolationError(AssertionError):
    """An invariant does not hold."""


class StuckError(ViolationError):
    """Nothing goes wrong any more, and still not everything ends as it has to."""


class CheckedStore(PartitionStore):
    """The real store, with the points where its process may die, and a look at what it holds."""

    def __init__(self, host: Host, path: Path, partition: int, cache_records: int) -> None:
        self._world = host.world
        self._host = host
        # The engine's own choice is never so small that records leave the cache in a run as short as these.
        self.in_use = False  #: whether the engine has it: what restores it has no second try
        self.closed = False
        super().__init__(path, partition, min(cache_records, host.settings.cache_records), host.world.virtual)
        self._host.stores.append(self)

    def _read(self, key: bytes) -> bytes | None:
        if self.in_use and self._world.faults.happens("store damaged"):
            self._damaged()
        return super()._read(key)

    def write(self, snapshot: Snapshot, origin: ChangelogPosition) -> None:
        self._host.point("before write")
        if self.in_use and self._world.faults.happens("store damaged, seen by a commit"):
            self._damaged()
        super().write(snapshot, origin)
        self._world.checks.written(self._host, self, snapshot.position)
        self._host.point("after write")

    def _damaged(self) -> None:
        self._world.note(f"{self._host.instance_id}: the store of partition {self.partition} is damaged")
        raise DamagedStoreError(self.partition, "Corruption: block checksum mismatch")

    def close(self) -> None:
        self.closed = True
        super().close()

    def put_away(self) -> None:
        """Its process is gone, and often with it what RocksDB had in memory alone."""
        if self.closed:
            return
        image = self.path.with_name(f"image-{self.path.name}")
        forgets = self._world.faults.happens("store killed") and self.path.exists()
        if forgets:
            shutil.copytree(self.path, image)
        self.close()
        if forgets:
            shutil.rmtree(self.path)
            image.rename(self.path)

    def content(self) -> tuple[dict[bytes, bytes], dict[tuple[int, bytes, int], int], Meta | None]:
        """What RocksDB holds: records, timers, meta."""
        records: dict[bytes, bytes] = {}
        timers: dict[tuple[int, bytes, int], int] = {}
        meta = None
        for key, value in self._db.items():
            if key[:1] in (b"w", b"i", b"c", b"j", b"a"):
                records[key] = value
            elif key == META_KEY:
                meta = msgspec.msgpack.decode(value, type=Meta)
            elif key[:1] == b"t":
                _, due, subject_id, kind = TIMER.unpack(key)
                timers[due, subject_id, kind] = int.from_bytes(value, "big")
        return records, timers, meta


class CheckedOutbox:
    """The real outbox of an engine, and a look at what goes in."""

    def __init__(self, host: Host, outbox: Outbox) -> None:
        self._host = host
        self._outbox = outbox

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = -1,
        headers: list[tuple[str, bytes | None]] | None = None,
    ) -> None:
        host, sent = self._host, Sent(topic, max(partition, 0), key, value)
        if host.captured is not None:
            host.captured.append(sent)
        host.under_way.setdefault((topic, sent.partition), deque()).append(value)
        host.world.checks.sent(host, topic, value)
        self._outbox.send(topic, value, key=key, partition=partition, headers=headers)


class CheckedEngine(Engine):
    """The real engine, every step of which is compared with the reference."""

    def __init__(self, host: Host, *, outbox: Outbox, **given: Any) -> None:
        super().__init__(outbox=CheckedOutbox(host, outbox), **given)
        self._world = host.world
        self._host = host

    def ready(self, number: int, store: PartitionStore, caught_up_at: int) -> None:
        assert isinstance(store, CheckedStore)
        store.in_use = True
        self._world.checks.restored(self._host, store)
        super().ready(number, store, caught_up_at)

    def _process(self, store: PartitionStore, record: Record) -> None:
        if self._world.faults.happens("slow command"):
            self._world.virtual.passed_ms += 25
        before = store.meta.next_offset
        self._host.captured = []
        super()._process(store, record)
        captured, self._host.captured = self._host.captured, None
        self._world.checks.stepped(self._host, store, record, before, captured)


class Checks:
    """All invariants of the safety phase."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._reference = world.reference
        #: the newest committed position of each partition, and every one that there was
        self.positions: dict[int, int] = {}
        self._all_positions: dict[int, set[int]] = {}
        #: the changelog as a reader of everything sees it: key -> (offset, value)
        self._changelog: dict[int, dict[bytes, tuple[int, bytes | None]]] = {}
        #: by transactional id: commands for undeliverable activities that were not written when its transaction began
        self._failures_unsent: dict[str, set[bytes]] = {}
        self.nodes_answered: set[bytes] = set()
        self.queries: dict[int, tuple[bytes, bool]] = {}  #: number -> (node, whether it must be found)

    def fail(self, complaint: str) -> None:
        """Remember the first violation: the code under test must not swallow it."""
        self._note(complaint)
        host = self._world.running
        if host is not None and not host.dead:
            host.die(f"violation: {complaint}")

    def _note(self, complaint: str) -> None:
        if self._world.violation is None:
            self._world.violation = complaint

    # --- one command ------------------------------------------------------------------------------------------------

    def stepped(self, host: Host, store: PartitionStore, record: Record, before: int, captured: list[Sent]) -> None:
        """The engine took a record: it did what the reference did, and says so in the same bytes."""
        where = f"{host.instance_id}, partition {record.partition}, offset {record.offset}"
        captured = [effect for effect in captured if not (effect.topic == REPLIES and effect.key == QUERY_ASKER)]
        taken = record.offset >= before and store.meta.next_offset > before  # Else a repeat, or read again later.
        expected = self._reference.sent[record.partition, record.offset] if taken else []
        # Where a client is known by its key alone no partition is given.
        if [(e.topic, e.key, e.value) for e in captured] != [(e.topic, e.key, e.value) for e in expected]:
            self.fail(f"{where}: other effects than the first time: {_told(captured)}, must be {_told(expected)}")
        if any(a.partition != b.partition for a, b in zip(captured, expected, strict=False)):
            self.fail(f"{where}: an effect for another partition")
        if taken:
            if any(before <= offset < record.offset for offset in self._reference.offsets[record.partition]):
                self.fail(f"{where}: a record since offset {before} was passed over")
            self._check_meta(where, store.meta, self._reference.stores[record.partition].meta_at(record.offset + 1))

    def _check_meta(self, where: str, meta: Meta | None, expected: Meta | None) -> None:
        if expected is None:
            if meta is not None and meta.next_offset != 0:
                self.fail(f"{where}: meta is {meta} before the first command")
            return
        if meta is None or _plain(meta) != _plain(expected):
            self.fail(f"{where}: meta is {meta}, must be {expected}")

    def sent(self, host: Host, topic: str, value: bytes | None) -> None:
        """An effect of any kind: answers of queries are looked at here."""
        if topic != REPLIES:
            return
        reply = codec.decode_reply(value)
        if reply.asker != QUERY_ASKER:
            return
        node_id, must_be_found = self.queries.get(reply.number, (b"", False))
        self._world.queries_answered.add(reply.number)
        if must_be_found and isinstance(reply.answer, replies.Rejection):
            self.fail(f"{host.instance_id}: node {node_id.hex()}, whose making was answered, is not found")

    def left(self, host: Host, topic: str, number: int, value: bytes | None) -> None:
        """A record leaves, or can never: none that the engine sent before it to its partition is still to come."""
        under_way = host.under_way.get((topic, number), ())
        if not under_way or value not in under_way:
            return  # In place of an undeliverable activity: not from the engine's loop.
        if under_way.popleft() != value:
            self._note(f"{host.instance_id}: a record for {topic}/{number} has overtaken another")

    def limits(self, number: int) -> None:
        """No quiet activity type has more out than its limit, which never changes."""
        for pool in self._reference.stores[number][POOLS].values():
            limit = self._world.plan.limits[pool.activity]
            if pool.activity == LIMITED["quiet"] and pool.in_use > limit:
                self.fail(f"partition {number}: {pool.in_use} of {pool.activity} are out, {limit} may be")

    def not_due(self, number: int, entry: Entry) -> dict[tuple[int, bytes, int], int]:
        """The timers that a record's timer command is of and that are not due when it is written."""
        try:
            command = codec.decode_command(entry.value)
        except DecodeError:
            return {}
        match command:
            case TimerFired(subject_id=subject, kind=kind):
                of = (subject, int(kind))
            case ScheduleDue(schedule_id=subject):
                of = (subject, int(TimerKind.SCHEDULE))
            case _:
                return {}
        store = self._reference.stores[number]
        now = max(entry.timestamp, store.meta.now)
        return {key: stands for key, stands in store.timers.items() if key[1:] == of and key[0] > now}

    def none_early(self, number: int, entry: Entry, standing: dict[tuple[int, bytes, int], int]) -> None:
        """No timer has fired before its time: one that was not due stands as before, and nothing was sent."""
        where = f"partition {number}, offset {entry.offset}"
        timers, sent = self._reference.stores[number].timers, self._reference.sent[number, entry.offset]
        if any(timers.get(key) != stands for key, stands in standing.items()) or (standing and sent):
            self._note(f"{where}: a timer has fired early: {standing}, {_told(sent)}")

    # --- commit and restore -----------------------------------------------------------------------------------------

    def committed(self, transaction: Transaction) -> None:
        """The broker accepted a commit: state and position fit, no effect before the position is missing."""
        touched: dict[int, int] = {}
        for log in transaction.logs:
            view = self._changelog.setdefault(log.number, {})
            for entry in log.entries:
                if entry is not None and entry.transaction is transaction and not entry.control:
                    self._into(view, entry)
                    if entry.key == META_KEY and entry.value is not None:
                        touched[log.number] = msgspec.msgpack.decode(entry.value, type=Meta).next_offset
        for number, position in sorted(touched.items()):
            where = f"commit of {transaction.owner}, partition {number}, position {position}"
            if transaction.offsets.get((COMMANDS, number)) != position:
                self.fail(f"{where}: the group's position is {transaction.offsets.get((COMMANDS, number))}")
            if position < self.positions.get(number, 0):
                self.fail(f"{where}: goes back behind {self.positions[number]}")
            unsent = self._failures_unsent.get(transaction.owner, set())
            self._check_delivered(where, number, self.positions.get(number, 0), position, unsent)
            self.positions[number] = max(position, self.positions.get(number, 0))
            self._all_positions.setdefault(number, set()).add(position)
            view = self._changelog[number]
            records = {key: value for key, (_, value) in view.items() if value is not None and key != META_KEY}
            self._same(where, records, self._reference.stores[number].records_at(position))

    def _into(self, view: dict[bytes, tuple[int, bytes | None]], entry: Entry) -> None:
        assert entry.key is not None
        known = view.get(entry.key)
        if known is None or known[0] < entry.offset:
            view[entry.key] = (entry.offset, entry.value)

    def transacts(self, host: Host) -> None:
        """Step 1 of a commit is over: what is not written by now is not waited for."""
        values = [value for outbox in host.outboxes for value in outbox.unsent(COMMANDS)]
        commands = [codec.decode_command(value) for value in values]
        failures = {command.id for command in commands if isinstance(command, DeliveryFailed)}
        self._failures_unsent[host.settings.transactional_id] = failures

    def _check_delivered(self, where: str, number: int, begin: int, end: int, unsent: set[bytes]) -> None:
        """Every effect of the commands in between was written, before the transaction began."""
        contents = self._world.broker.contents
        for offset in self._reference.offsets[number]:
            if begin <= offset < end:
                for effect in self._reference.sent[number, offset] + self._reference.later[number, offset]:
                    if effect.topic.startswith(ACTIVITIES_PREFIX) and effect.topic in self._world.topics_missing:
                        self._check_failed(where, effect, unsent)
                    elif (effect.key, effect.value) not in contents.get(effect.topic, {}):
                        self.fail(f"{where}: an effect of offset {offset} was never written: {_told([effect])}")

    def _check_failed(self, where: str, sent: Sent, unsent: set[bytes]) -> None:
        """An activity that cannot be delivered was replaced by a command that says so."""
        activity = codec.decode_activity(sent.value)
        if activity.kind is ActivityKind.NOTIFICATION:
            return
        node = activity.node
        identity = ids.command_id(b"undeliverable", node.id, node.attempt.to_bytes(8, "big"))
        if identity in unsent or identity not in self._world.broker.failed_deliveries:
            self.fail(f"{where}: nobody was told that {node.name} cannot be delivered")

    def written(self, host: Host, store: CheckedStore, position: int) -> None:
        """The local store was written: it is not ahead of the log, and holds what it has to."""
        where = f"{host.instance_id}, local store of partition {store.partition}, position {position}"
        if position not in self._all_positions.get(store.partition, ()):
            self.fail(f"{where}: it is ahead of what is committed ({self.positions.get(store.partition)})")
        self._check_content(where, store)

    def restored(self, host: Host, store: CheckedStore) -> None:
        """A store is about to be used: it is as of the newest commit."""
        number, position = store.partition, store.meta.next_offset
        where = f"{host.instance_id}, restored partition {number}, position {position}"
        newest = self.positions.get(number, 0)
        member = self._world.group.why_refused(host.generation, host.member_id, host.instance_id) is None
        if position != newest and (member or position not in {0, *self._all_positions.get(number, ())}):
            self.fail(f"{where}: the newest commit is at {newest}")
        self._check_content(where, store)

    def _check_content(self, where: str, store: CheckedStore) -> None:
        records, timers, meta = store.content()
        reference = self._reference.stores[store.partition]
        position = meta.next_offset if meta is not None else 0
        self._check_meta(where, meta, reference.meta_at(position))
        self._same(where, records, reference.records_at(position))
        self._same(f"{where}: timers", timers, reference.timers_at(position))

    def _same(self, where: str, actual: dict[Any, Any], expected: dict[Any, Any]) -> None:
        if actual == expected:
            return
        extra = [key for key in actual if key not in expected]
        missing = [key for key in expected if key not in actual]
        other = [key for key in actual if key in expected and actual[key] != expected[key]]
        self.fail(
            f"{where}: {len(extra)} too many {extra[:2]}, {len(missing)} missing {missing[:2]}, other {other[:2]}"
        )

    def memory(self, host: Host) -> None:
        """What a running engine would answer, through all layers of its store, is what the reference has."""
        assert host.process is not None
        self._check_paused(host)
        for number, partition in host.process.engine.partitions.items():
            store = partition.store
            if store is None:
                continue
            reference = self._reference.stores[number]
            expected = reference.records_at(store.meta.next_offset)
            where = f"{host.instance_id}, memory of partition {number} at {store.meta.next_offset}"
            for table, layers in store._records.items():
                for key in {**layers._changed, **layers._in_flight, **layers._young, **layers._old}:
                    record = layers.get(key)
                    value = None if record is None else layers._encode(record)
                    if value != (must_be := expected.get(table.form.encode(key))):
                        self.fail(f"{where}: {key!r} is {value!r}, must be {must_be!r}")
            self._check_timers(where, store, reference.timers_at(store.meta.next_offset))

    def _check_paused(self, host: Host) -> None:
        """Nothing stays paused of which the engine does not know that it is."""
        assert host.process is not None
        for number, partition in host.process.engine.partitions.items():
            if partition.store is not None and number in host.reader.paused and number not in host.process._paused:
                self.fail(f"{host.instance_id}: partition {number} is never read: it stays paused")

    def _check_timers(self, where: str, store: PartitionStore, expected: dict[tuple[int, bytes, int], int]) -> None:
        timers = store.timers
        for key, number in expected.items():
            soon = key[0] < timers._armed_until
            if soon and timers._armed.get(key) != number and key not in timers._sent:
                self.fail(f"{where}: a timer of {key[1].hex()} due at {key[0]} is not held in memory")


def _plain(meta: Meta) -> bytes:
    """Meta but for the process that wrote it."""
    plain = msgspec.structs.replace(meta, transactional_id="", high_water=dict(sorted(meta.high_water.items())))
    return msgspec.msgpack.encode(plain)


def _told(sent: list[Sent]) -> str:
    return ", ".join(f"{effect.topic} {_decoded(effect)}" for effect in sent) or "none"


def _decoded(sent: Sent) -> str:
    try:
        if sent.topic == COMMANDS:
            return str(codec.decode_command(sent.value))
        return str(codec.decode_reply(sent.value)) if sent.topic == REPLIES else repr(sent.value)[:200]
    except DecodeError:
        return repr(sent.value)[:200]


def unprocessed(log: PartitionLog, position: int) -> bool:
    """Whether the log has a data record at or after a position."""
    return any(entry is not None and not entry.control for entry in log.entries[position:])


__all__ = [
    "QUERY_ASKER",
    "STATE",
    "CheckedEngine",
    "CheckedStore",
    "Checks",
    "StuckError",
    "ViolationError",
    "unprocessed",
]
