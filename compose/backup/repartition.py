"""A backup of another partition count: its commands are replayed over the partitions that their ids have then.

Every id carries its route, so another count puts workflows that were in one partition into several, and the other way.
The commands get an order in which each comes behind the one whose effect it is, and those of a partition stay in
theirs. In that order they are laid into the new partitions, and the engine's own rules make the new state of them. It
must have the very records that the backup has, or nothing comes of it.

A command that is another one's effect names that one's record, which is elsewhere now: it gets the new place. Engines
take such commands for repeats unless the places of one partition come in order. So what one partition has sent to
another one is laid there in the order of its causes. With a multiple of the old number all of a new partition comes
from one of before, and it is in order; with another number commands may have to be laid before earlier ones, so that
times in the state differ, or no order is right: it is refused then.
"""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from heapq import heappop, heappush
from pathlib import Path
from typing import NamedTuple

import msgspec

from backbeat.compose.backup.errors import BackupError
from backbeat.compose.backup.letters import moved_letter
from backbeat.compose.backup.manifest import Manifest, PartitionCopy, TopicCopy
from backbeat.compose.backup.parts import CopiedRecord, PartitionWriter, read_partition
from backbeat.compose.backup.sends import Sends
from backbeat.compose.verify.log import Record
from backbeat.compose.verify.replay import EngineRun, make_tables, same_record
from backbeat.compose.verify.spill import Spill
from backbeat.gateway.archiving.stores import ArchiveStore
from backbeat.schemas import codec
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.topics import COMMANDS, DEAD_LETTERS, STATE
from backbeat.schemas.messages.commands import AnyCommand, StartJob, StopJob, TimerFired, WorkJob
from backbeat.schemas.messages.ids import partition_of
from backbeat.schemas.messages.values import Source
from backbeat.schemas.requests.decoding import from_msgpack
from backbeat.schemas.routes import route
from backbeat.streams.core.effects import Broadcast, Send
from backbeat.streams.core.limits.records import Pool
from backbeat.streams.core.records import Meta
from backbeat.streams.core.step import Refused
from backbeat.streams.core.tables import META_KEY, table_of
from backbeat.streams.input.validate import check_command

_RUN = "first"
_SAY_RECORDS = 5_000
#: Of the installation, and so the same in every partition's meta record.
_SHARED = ("settings", "limits", "retention")


_TABLES = """
CREATE TABLE effects (source_partition INTEGER, source_offset INTEGER, number INTEGER, origin INTEGER, target INTEGER,
    partition INTEGER, timestamp INTEGER);
CREATE INDEX effects_by_source ON effects (source_partition, source_offset, number);
CREATE TABLE copies (mark BLOB, partition INTEGER, place INTEGER);
CREATE INDEX copies_by_mark ON copies (mark);
BEGIN;
"""
#: Target of an effect that went to every partition.
_EVERYWHERE = -1


class _Placed(NamedTuple):
    """A command of the backup, where it was."""

    partition: int
    record: CopiedRecord
    command: AnyCommand


class Repartition:
    """The backup of another partition count, made of one whose files were checked."""

    def __init__(
        self,
        store: ArchiveStore,
        manifest: Manifest,
        source: str,
        partitions: int,
        into: ArchiveStore,
        say: Callable[[str], None],
    ) -> None:
        """`into`: an empty store for the new backup. `say`: called with what it does now."""
        self._store, self._manifest, self._source = store, manifest, source
        self._partitions = partitions
        self._into = into
        self._say = say
        self._writers = [PartitionWriter(into, COMMANDS, number) for number in range(partitions)]
        self._next = [0] * partitions
        self._spill: Spill
        #: from one new partition to another: effects of what is laid there that are not laid yet, in order
        self._due: defaultdict[tuple[int, int], deque[Source]] = defaultdict(deque)
        #: commands to every partition that are laid into each already
        self._spread: set[bytes] = set()
        #: causes of effects that are not laid yet, and the places that they have now
        self._places: dict[Source, Source] = {}
        self._renumbered: Counter[tuple[int, int]] = Counter()
        self._sends = Sends(self._targets)
        #: where engines go on; empty: not known yet
        self._positions: dict[int, int] = {}

    def run(self) -> Manifest:
        """Make it; its manifest. BackupError: it cannot be, or its state would be another."""
        with tempfile.TemporaryDirectory(prefix="backbeat-repartition-") as name, ExitStack() as stack:
            self._spill = spill = Spill(Path(name) / "state.sqlite")
            stack.callback(spill.close)
            make_tables(spill)
            spill.db.executescript(_TABLES)
            runs = [EngineRun(_RUN, Path(name), number, self._partitions, spill) for number in range(self._partitions)]
            for writer in self._writers:
                stack.callback(writer.close)
            for run in runs:
                stack.callback(run.close)
            for commands in self._heads().values():
                self._note(commands)
            heads = self._heads()
            self._lay(heads, runs, self._manifest.positions)
            self._positions = positions = dict(enumerate(self._next))
            for number, run in enumerate(runs):
                run.meta.next_offset = positions[number]
                run.commit()
            self._compare(runs)
            metas = {number: msgspec.msgpack.encode(run.meta) for number, run in enumerate(runs)}
            state = [self._state(number) for number in range(self._partitions)]
            # The engines apply the rest; here it is only seen that they send what is there.
            self._lay(heads, runs, None)
            if not self._sends.are_whole(positions):
                raise self._refusal("lacks a command that the rules send in this number of partitions")
            return self._write(state, metas, positions)

    # --- commands ----------------------------------------------------------------------------------------------------

    def _heads(self) -> dict[int, Iterator[_Placed]]:
        topic = self._manifest.topic(COMMANDS)
        copies = [] if topic is None else topic.partitions
        if any(copy.first for copy in copies):
            raise self._refusal("has not all commands: its oldest were removed before it was made")
        return {copy.partition: self._commands(copy) for copy in copies}

    def _commands(self, copy: PartitionCopy) -> Iterator[_Placed]:
        """A partition's commands that the rules take: the others changed nothing, and repeats were passed over."""
        newest: dict[int, tuple[int, int]] = {}
        for record in read_partition(self._store, self._source, copy):
            try:
                command = codec.decode_command(record.value)
                check_command(command, copy.partition, record.offset, self._manifest.partitions)
            except (DecodeError, Refused) as error:
                if record.offset >= self._manifest.positions.get(copy.partition, 0):
                    raise self._refusal(
                        "has a record that no engine takes and none has put aside yet (partition "
                        f"{copy.partition}, offset {record.offset}): {error}"
                    ) from error
                continue
            if command.source is not None:
                place = command.source.offset, command.source.index
                if place <= newest.get(command.source.partition, (-1, -1)):
                    continue
                newest[command.source.partition] = place
            if isinstance(command, (StartJob, StopJob, WorkJob)):
                raise self._refusal("has commands of jobs, each of which works on one partition's nodes")
            yield _Placed(copy.partition, record, command)

    def _note(self, commands: Iterator[_Placed]) -> None:
        """Note which commands are effects, of what, and which are copies of one that went to every partition."""
        for partition, record, command in commands:
            identity = route(command)
            if (source := command.source) is not None:
                target = _EVERYWHERE if identity is None else partition_of(identity, self._partitions)
                # Of what went to every partition, an effect is that of the one which holds the pool, or the workflow.
                pool: bytes | None = getattr(command, "pool_id", None)
                origin = target if pool is None else partition_of(pool, self._partitions)
                row = (source.partition, source.offset, source.index, origin, target, partition, record.timestamp)
                self._spill.db.execute("INSERT INTO effects VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            if (mark := _mark(command)) is not None:
                self._spill.db.execute("INSERT INTO copies VALUES (?, ?, ?)", (mark, partition, record.offset))

    def _lay(self, heads: dict[int, Iterator[_Placed]], runs: list[EngineRun], ends: Mapping[int, int] | None) -> None:
        """Lay commands into the new partitions, and apply them: those before `ends`; null: all."""
        first: dict[int, _Placed] = {}
        queue: list[tuple[int, int, int]] = []

        def advance(partition: int) -> None:
            placed = next(heads[partition], None)
            first.pop(partition, None)
            if placed is None:
                return
            if ends is not None and placed.record.offset >= ends.get(partition, 0):
                heads[partition] = itertools.chain((placed,), heads[partition])
                return
            first[partition] = placed
            heappush(queue, (placed.record.timestamp, partition, placed.record.offset))

        for partition in heads:
            advance(partition)
        count = 0
        while queue:
            _, partition, offset = queue[0]
            placed = first.get(partition)
            if placed is None or placed.record.offset != offset:
                heappop(queue)
                continue
            tried = set()
            while (before := self._before(placed, first)) is not None:
                tried.add(placed.partition)
                if before in tried or before not in first:
                    raise self._refusal("has commands that wait for each other in this number of partitions")
                placed = first[before]
            self._lay_one(placed, runs)
            advance(placed.partition)
            count += 1
            if count % _SAY_RECORDS == 0:
                self._say(f"{count} commands are laid into {self._partitions} partitions")

    def _before(self, placed: _Placed, first: dict[int, _Placed]) -> int | None:
        """Partition of the backup whose next command has to be laid before this one; null: none."""
        source = placed.command.source
        if source is None:
            return None
        cause = first.get(source.partition)
        if cause is not None and cause.record.offset <= source.offset:
            return source.partition
        mark = _mark(placed.command)
        if mark is not None and mark in self._spread:
            return None
        place = self._place(source)
        for target in self._targets(placed.command):
            due = self._due[place.partition, target]
            if due and due[0] != source and source in due:
                query = (
                    "SELECT partition FROM effects WHERE source_partition = ? AND source_offset = ? AND number = ?"
                    " ORDER BY timestamp LIMIT 1"
                )
                row = self._spill.one(query, *msgspec.structs.astuple(due[0]))
                assert row is not None, "it was noted as an effect"
                return int(row[0])
        return None

    def _place(self, source: Source) -> Source:
        """The new place of a command's cause."""
        place = self._places.get(source)
        if place is None:
            raise self._refusal(f"has an effect of a command that it has not: {source}")
        return place

    def _targets(self, command: AnyCommand) -> Sequence[int]:
        identity = route(command)
        return range(self._partitions) if identity is None else (partition_of(identity, self._partitions),)

    def _lay_one(self, placed: _Placed, runs: list[EngineRun]) -> None:
        command, source, mark = placed.command, placed.command.source, _mark(placed.command)
        if mark is not None:
            # One of them was sent to each partition.
            if mark in self._spread:
                return
            self._spread.add(mark)
        targets = self._targets(command)
        value = placed.record.value
        if source is not None:
            place = self._place(source)
            for target in targets:
                self._due[place.partition, target].popleft()
            value = codec.encode_command(command, place)
            del self._places[source]
            if not self._sends.lay(place, command):
                # Such as the revision of a limit whose changes others order now.
                name = type(command).__name__
                raise self._refusal(f"has a {name} that no command sends in this number of partitions")
        for number in targets:
            record = placed.record
            copy = CopiedRecord(self._next[number], record.timestamp, record.key, value, record.headers)
            self._next[number] += 1
            self._writers[number].add(copy)
            effects = runs[number].take(Record(copy.offset, copy.timestamp, copy.key, value), number)
            sent = [effect.command for effect in effects if isinstance(effect, (Send, Broadcast))]
            self._sends.note((number, copy.offset), sent)
        if mark is None:
            self._expect(Source(placed.partition, placed.record.offset, 0), targets[0])
            return
        query = "SELECT partition, place FROM copies WHERE mark = ? ORDER BY partition, place"
        for partition, offset in self._spill.db.execute(query, (mark,)).fetchall():
            self._expect(Source(partition, offset, 0), None)

    def _expect(self, cause: Source, partition: int | None) -> None:
        """Note the effects of a command that was laid just now; partition null: into each, which each have some."""
        query = (
            "SELECT DISTINCT number, origin, target FROM effects WHERE source_partition = ? AND source_offset = ?"
            " ORDER BY number"
        )
        for index, origin, target in self._spill.db.execute(query, (cause.partition, cause.offset)).fetchall():
            source = Source(cause.partition, cause.offset, index)
            number = origin if partition is None else partition
            if number == _EVERYWHERE:
                raise self._refusal("has commands to every partition that others to every partition have sent")
            offset = self._next[number] - 1
            if partition is not None:
                self._places[source] = Source(number, offset, index)
            else:
                # Those of several partitions of before, in one now: an engine that sends them has other numbers.
                if self._positions:
                    raise self._refusal("has effects of a command to every partition that not all engines had taken")
                self._renumbered[number, offset] += 1
                self._places[source] = Source(number, offset, self._renumbered[number, offset])
            for target_number in range(self._partitions) if target == _EVERYWHERE else (target,):
                self._due[number, target_number].append(source)

    # --- state -------------------------------------------------------------------------------------------------------

    def _compare(self, runs: list[EngineRun]) -> None:
        """Refuse a state that is not the backup's. Timers' numbers and times are part of it."""
        self._say("comparing the state with the backup's")
        spill = self._spill
        topic = self._manifest.topic(STATE)
        for copy in [] if topic is None else topic.partitions:
            for record in read_partition(self._store, self._source, copy):
                if record.key == META_KEY:
                    continue
                if record.value is None:
                    spill.db.execute("DELETE FROM stored WHERE key = ?", (record.key,))
                else:
                    spill.db.execute("INSERT OR REPLACE INTO stored VALUES (0, ?, ?)", (record.key, record.value))
        query = (
            f"SELECT key, a.value, b.value FROM (SELECT key FROM stored UNION SELECT key FROM {_RUN}) "  # noqa: S608 - own names
            f"LEFT JOIN stored a USING (key) LEFT JOIN {_RUN} b USING (key) WHERE key <> ?"
        )
        for key, theirs, ours in spill.db.execute(query, (META_KEY,)):
            if theirs != ours and not same_record(key, _unchained(key, ours), _unchained(key, theirs)):
                kind = getattr(table_of(key), "struct", bytes).__name__
                raise self._other_state(f"the record {key.hex()} ({kind})")
        metas = [from_msgpack(value, Meta) for value in self._manifest.metas.values()]
        for name in _SHARED:
            if any(getattr(meta, name) != getattr(run.meta, name) for meta in metas for run in runs):
                raise self._other_state(f"{name} of a partition")

    def _other_state(self, name: str) -> BackupError:
        return self._refusal(f"makes another state when its commands are replayed: {name} differs")

    def _refusal(self, reason: str) -> BackupError:
        return BackupError(
            f"the backup {self._source} {reason}. What to do: restore it into its own number of partitions, "
            f"{self._manifest.partitions}; or make one while nobody calls and engines have no lag (backbeat stats)"
        )

    def _state(self, number: int) -> PartitionCopy:
        """The files of a partition's state."""
        writer = PartitionWriter(self._into, STATE, number)
        query = f"SELECT key, value FROM {_RUN} WHERE partition = ? AND key <> ?"  # noqa: S608 - a name of our own
        count = 0
        for key, value in self._spill.db.execute(query, (number, META_KEY)):
            writer.add(CopiedRecord(count, 0, key, value, []))
            count += 1
        return writer.end(0, count)

    def _write(self, state: list[PartitionCopy], metas: dict[int, bytes], positions: dict[int, int]) -> Manifest:
        """The files that are left, and the manifest of the new backup."""
        commands = [writer.end(0, self._next[number]) for number, writer in enumerate(self._writers)]
        topics = {
            topic.name: self._copied(topic) for topic in self._manifest.topics if topic.name not in (COMMANDS, STATE)
        }
        ids = {topic.name: topic.topic_id for topic in self._manifest.topics}
        topics[COMMANDS] = TopicCopy(COMMANDS, ids.get(COMMANDS, ""), commands)
        topics[STATE] = TopicCopy(STATE, ids.get(STATE, ""), state)
        return msgspec.structs.replace(
            self._manifest,
            partitions=self._partitions,
            positions=positions,
            metas=metas,
            topics=[topics[name] for name in sorted(topics)],
        )

    def _copied(self, topic: TopicCopy) -> TopicCopy:
        copies = []
        for copy in topic.partitions:
            writer = PartitionWriter(self._into, topic.name, copy.partition)
            for record in read_partition(self._store, self._source, copy):
                writer.add(moved_letter(record, self._partitions) if topic.name == DEAD_LETTERS else record)
            copies.append(writer.end(copy.first, copy.end))
        return msgspec.structs.replace(topic, partitions=copies)


def _mark(command: AnyCommand) -> bytes | None:
    """The same bytes for all copies of a command that went to every partition; null: it went to one."""
    if route(command) is not None or isinstance(command, TimerFired):
        return None
    return codec.encode_command(msgspec.structs.replace(command, reply_to=None))


def _unchained(key: bytes, value: bytes | None) -> bytes | None:
    """A record without its place in a chain of its partition's."""
    if value is None or getattr(table_of(key), "struct", bytes) is not Pool:
        return value
    pool = from_msgpack(value, Pool)
    pool.before = pool.next = None
    return msgspec.msgpack.encode(pool)
