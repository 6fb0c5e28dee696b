"""A backup of another partition count: its commands are replayed over the partitions that their ids have then.

Every id carries its route, so another count puts workflows that were in one partition into several, and the other way.
The commands get an order in which each comes behind the one whose effect it is, by time where that leaves a choice;
those of a partition stay in theirs. In that order they are laid into the new partitions, and the engine's own rules
make the new state of them. It must have the very records that the backup has, or nothing comes of it.

A command that is another one's effect names that one's record, which is elsewhere now. Such commands name the first
record of their own partition instead and count on, so that no effect of what is yet to come passes for a repeat of
them. What an engine had sent for a command behind its position is left out: the engines of the new cluster apply that
command, and send it again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import NamedTuple

import msgspec

from backbeat.compose.backup.errors import BackupError
from backbeat.compose.backup.manifest import Manifest, PartitionCopy, TopicCopy
from backbeat.compose.backup.parts import CopiedRecord, PartitionWriter, read_partition
from backbeat.compose.verify.log import Record
from backbeat.compose.verify.replay import EngineRun, make_tables, same_record
from backbeat.compose.verify.spill import Spill
from backbeat.gateway.archiving.stores import ArchiveStore
from backbeat.schemas import codec
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.topics import COMMANDS, STATE
from backbeat.schemas.messages.commands import AnyCommand, StartJob, StopJob, TimerFired, WorkJob, route
from backbeat.schemas.messages.ids import partition_of
from backbeat.schemas.messages.values import Source
from backbeat.streams.core.limits.records import Pool
from backbeat.streams.core.records import Meta
from backbeat.streams.core.step import Refused
from backbeat.streams.core.tables import META_KEY, table_of
from backbeat.streams.input.validate import check_command

_RUN = "first"
_SAY_RECORDS = 5_000
#: Offset of each partition's first command: the one before it has no content, and is what commands are the effect of.
_FIRST = 1
#: Of the installation, and so the same in every partition's meta record.
_SHARED = ("settings", "limits", "retention")


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
        self._next = [_FIRST] * partitions
        self._effects = [0] * partitions
        #: commands to every partition that are laid into each already
        self._spread: set[bytes] = set()

    def run(self) -> Manifest:
        """Make it; its manifest. BackupError: it cannot be, or its state would be another."""
        with tempfile.TemporaryDirectory(prefix="backbeat-repartition-") as name, ExitStack() as stack:
            spill = Spill(Path(name) / "state.sqlite")
            stack.callback(spill.close)
            make_tables(spill)
            runs = [EngineRun(_RUN, Path(name), number, self._partitions, spill) for number in range(self._partitions)]
            for closable in (*self._writers, *runs):
                stack.callback(closable.close)
            heads = self._heads()
            self._lay(heads, runs)
            positions = dict(enumerate(self._next))
            for number, run in enumerate(runs):
                run.meta.next_offset = positions[number]
                run.commit()
            self._lay(heads, None)
            self._compare(spill, runs)
            return self._write(spill, runs, positions)

    # --- commands ----------------------------------------------------------------------------------------------------

    def _heads(self) -> dict[int, Iterator[_Placed]]:
        topic = self._manifest.topic(COMMANDS)
        copies = [] if topic is None else topic.partitions
        if any(copy.first for copy in copies):
            raise BackupError(
                f"the backup {self._source} has not all commands: its oldest were removed before it was made. What to "
                f"do: restore it into its own number of partitions, {self._manifest.partitions}"
            )
        return {copy.partition: self._commands(copy) for copy in copies}

    def _commands(self, copy: PartitionCopy) -> Iterator[_Placed]:
        """A partition's commands that the rules take: the others changed nothing, and repeats were passed over."""
        newest: dict[int, tuple[int, int]] = {}
        for record in read_partition(self._store, self._source, copy):
            try:
                command = codec.decode_command(record.value)
                check_command(command, copy.partition, record.offset, self._manifest.partitions)
            except (DecodeError, Refused):
                continue
            if command.source is not None:
                place = command.source.offset, command.source.index
                if place <= newest.get(command.source.partition, (-1, -1)):
                    continue
                newest[command.source.partition] = place
            if isinstance(command, (StartJob, StopJob, WorkJob)):
                raise BackupError(
                    f"the backup {self._source} has commands of jobs, each of which works on one partition's nodes. "
                    f"What to do: restore it into its own number of partitions, {self._manifest.partitions}"
                )
            yield _Placed(copy.partition, record, command)

    def _lay(self, heads: dict[int, Iterator[_Placed]], runs: list[EngineRun] | None) -> None:
        """Lay commands into the new partitions: those that have been applied, with the runs; without, the rest."""
        first: dict[int, _Placed] = {}

        def advance(partition: int) -> None:
            position = self._manifest.positions.get(partition, 0)
            placed = next(heads[partition], None)
            if placed is None or (runs is not None and placed.record.offset >= position):
                if placed is not None:
                    heads[partition] = _before(placed, heads[partition])
                first.pop(partition, None)
                return
            first[partition] = placed
            heappush(queue, (placed.record.timestamp, partition, placed.record.offset))

        queue: list[tuple[int, int, int]] = []
        for partition in heads:
            advance(partition)
        heapify(queue)
        count = 0
        while queue:
            _, partition, offset = queue[0]
            placed = first.get(partition)
            if placed is None or placed.record.offset != offset:
                heappop(queue)
                continue
            # What it is the effect of comes first, and what that is the effect of.
            while (
                (source := placed.command.source)
                and source.partition in first
                and first[source.partition].record.offset <= source.offset
            ):
                placed = first[source.partition]
            self._lay_one(placed, runs)
            advance(placed.partition)
            count += 1
            if count % _SAY_RECORDS == 0:
                self._say(f"{count} commands are laid into {self._partitions} partitions")

    def _lay_one(self, placed: _Placed, runs: list[EngineRun] | None) -> None:
        command, source = placed.command, placed.command.source
        if runs is None and source and source.offset >= self._manifest.positions.get(source.partition, 0):
            return
        identity = route(command)
        if identity is not None:
            self._add(partition_of(identity, self._partitions), placed, runs)
            return
        if not isinstance(command, TimerFired):
            # One of them was sent to each partition.
            mark = codec.encode_command(msgspec.structs.replace(command, source=None, reply_to=None))
            if mark in self._spread:
                return
            self._spread.add(mark)
        for number in range(self._partitions):
            self._add(number, placed, runs)

    def _add(self, number: int, placed: _Placed, runs: list[EngineRun] | None) -> None:
        offset, value = self._next[number], placed.record.value
        if placed.command.source is not None:
            self._effects[number] += 1
            value = codec.encode_command(placed.command, Source(number, 0, self._effects[number]))
        record = CopiedRecord(offset, placed.record.timestamp, placed.record.key, value, placed.record.headers)
        self._next[number] += 1
        self._writers[number].add(record)
        if runs is not None:
            runs[number].take(Record(offset, record.timestamp, record.key, value), number)

    # --- state -------------------------------------------------------------------------------------------------------

    def _compare(self, spill: Spill, runs: list[EngineRun]) -> None:
        """Refuse a state that is not the backup's. Timers' numbers and times are part of it."""
        self._say("comparing the state with the backup's")
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
        metas = [msgspec.msgpack.decode(value, type=Meta) for value in self._manifest.metas.values()]
        for name in _SHARED:
            if any(getattr(meta, name) != getattr(run.meta, name) for meta in metas for run in runs):
                raise self._other_state(f"{name} of a partition")

    def _other_state(self, name: str) -> BackupError:
        return BackupError(
            f"the commands of the backup {self._source}, replayed over {self._partitions} partitions, make another "
            f"state: {name} differs. What to do: restore it into its own number of partitions, "
            f"{self._manifest.partitions}"
        )

    def _write(self, spill: Spill, runs: list[EngineRun], positions: dict[int, int]) -> Manifest:
        """The files and the manifest of the new backup."""
        copies = []
        for number in range(self._partitions):
            writer = PartitionWriter(self._into, STATE, number)
            query = f"SELECT key, value FROM {_RUN} WHERE partition = ? AND key <> ?"  # noqa: S608 - a name of our own
            rows = spill.db.execute(query, (number, META_KEY))
            offset = 0
            for offset, (key, value) in enumerate(rows, 1):
                writer.add(CopiedRecord(offset - 1, 0, key, value, []))
            copies.append(writer.end(0, offset))
        commands = [writer.end(0, self._next[number]) for number, writer in enumerate(self._writers)]
        topics = {
            topic.name: self._copied(topic) for topic in self._manifest.topics if topic.name not in (COMMANDS, STATE)
        }
        ids = {topic.name: topic.topic_id for topic in self._manifest.topics}
        topics[COMMANDS] = TopicCopy(COMMANDS, ids.get(COMMANDS, ""), commands)
        topics[STATE] = TopicCopy(STATE, ids.get(STATE, ""), copies)
        metas = {number: msgspec.msgpack.encode(run.meta) for number, run in enumerate(runs)}
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
                writer.add(record)
            copies.append(writer.end(copy.first, copy.end))
        return msgspec.structs.replace(topic, partitions=copies)


def _before(placed: _Placed, rest: Iterator[_Placed]) -> Iterator[_Placed]:
    yield placed
    yield from rest


def _unchained(key: bytes, value: bytes | None) -> bytes | None:
    """A record without its place in a chain of its partition's."""
    if value is None or getattr(table_of(key), "struct", bytes) is not Pool:
        return value
    pool = msgspec.msgpack.decode(value, type=Pool)
    pool.before = pool.next = None
    return msgspec.msgpack.encode(pool)
