"""Backup of a live installation (the package's docstring says why it is consistent)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from backbeat.compose.backup.cut import Send, consistent_ends, source_of
from backbeat.compose.backup.errors import BackupError
from backbeat.compose.backup.manifest import FORMAT, NAME, Manifest, PartitionCopy, TopicCopy, is_there, write_manifest
from backbeat.compose.backup.parts import CopiedRecord, PartitionWriter
from backbeat.compose.verify.log import Topics
from backbeat.delivery.consumer import group_of
from backbeat.gateway.archiving.stores import ArchiveStore
from backbeat.gateway.webhooks.consumer import GROUP as WEBHOOKS_GROUP
from backbeat.schemas.kafka import dead_letters
from backbeat.schemas.kafka.brokers import describe, reach
from backbeat.schemas.kafka.client_registry import ClientRegistry
from backbeat.schemas.kafka.committed import committed_offsets
from backbeat.schemas.kafka.topics import (
    ACTIVITIES_PREFIX,
    AUDIT,
    CLIENTS,
    COMMANDS,
    DEAD_LETTERS,
    PAYLOADS,
    PEOPLE,
    SIGNALS_PREFIX,
    STATE,
)
from backbeat.schemas.requests.decoding import from_msgpack
from backbeat.streams.core.records import Meta
from backbeat.streams.core.tables import META_KEY

#: Copied whole, after the commands: they hold at least what those refer to.
WHOLE = (PAYLOADS, CLIENTS, PEOPLE, AUDIT, DEAD_LETTERS)
#: A round through the newest end of the changelog is short enough when compaction cannot have come by meanwhile.
_ROUND_SECONDS_MAX = 10.0
_ROUNDS_MAX = 20
_ASK_SECONDS = 20.0
_SAY_RECORDS = 5_000


class Backup:
    """Backup of an installation to a store."""

    def __init__(self, topics: Topics, store: ArchiveStore, say: Callable[[str], None], application_id: str) -> None:
        """`say`: called with what it does now. `application_id`: consumer group of the engines."""
        self._topics = topics
        self._store = store
        self._say = say
        self._application_id = application_id
        self._admin: AdminClient = reach(topics.bootstrap_servers)
        self._copies: dict[str, dict[int, PartitionCopy]] = {}

    def run(self, destination: str) -> Manifest:
        """Write the backup; its manifest. BackupError, LogError."""
        if is_there(self._store):
            raise BackupError(
                f"{destination} holds a backup ({NAME}). What to do: name another folder; none is written over"
            )
        count = self._topics.partitions_count
        metas = self._copy_changelog(count)
        positions = {number: from_msgpack(meta, Meta).next_offset for number, meta in metas.items()}
        starts = self._waiting_starts()
        waiting_ends = {place: self._topics.ends(*place)[1] for place in starts}
        bounds = {number: self._topics.ends(COMMANDS, number) for number in range(count)}
        ends = self._cut(positions, bounds)
        for number, (first, _) in bounds.items():
            self._copy(COMMANDS, number, first, ends[number])
        for place, start in starts.items():
            self._copy(*place, min(start, waiting_ends[place]), waiting_ends[place])
        present = describe(self._admin, [COMMANDS, STATE, *WHOLE, *sorted({topic for topic, _ in starts})])
        for topic in WHOLE:
            if topic in present:
                for number in range(present[topic].partitions):
                    self._copy(topic, number, *self._topics.ends(topic, number))
        manifest = Manifest(
            format=FORMAT,
            version=version("backbeat"),
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            partitions=count,
            positions=positions,
            metas=metas,
            topics=[
                TopicCopy(name, present[name].topic_id, [copies[number] for number in sorted(copies)])
                for name, copies in sorted(self._copies.items())
                if name in present
            ],
        )
        write_manifest(self._store, manifest)
        return manifest

    # --- the changelog -----------------------------------------------------------------------------------------------

    def _copy_changelog(self, count: int) -> dict[int, bytes]:
        """Copy the changelog up to decided transactions; the newest meta record of each partition."""
        writers = {number: PartitionWriter(self._store, STATE, number) for number in range(count)}
        firsts: dict[int, int] = {}
        reached: dict[int, int] = {}
        metas: dict[int, bytes] = {}
        for _ in range(_ROUNDS_MAX):
            began_at = time.monotonic()
            for number, writer in writers.items():
                first, end = self._topics.ends(STATE, number, committed=True)
                firsts.setdefault(number, first)
                for record in self._records(STATE, number, reached.get(number, first), end, committed=True):
                    writer.add(record)
                    if record.key == META_KEY and record.value is not None:
                        metas[number] = record.value
                reached[number] = end
            if time.monotonic() - began_at < _ROUND_SECONDS_MAX:
                break
        else:
            raise BackupError(
                f"{STATE} grows faster than it can be read. What to do: run the backup nearer to the brokers, or when "
                "there is less work"
            )
        self._copies[STATE] = {
            number: writer.end(firsts[number], reached[number]) for number, writer in writers.items()
        }
        return metas

    # --- what waits --------------------------------------------------------------------------------------------------

    def _waiting_starts(self) -> dict[tuple[str, int], int]:
        """Topic and partition -> offset of the first signal that is not taken, or activity that is not answered."""
        names = [
            name
            for name in self._admin.list_topics(timeout=_ASK_SECONDS).topics
            if name.startswith((SIGNALS_PREFIX, ACTIVITIES_PREFIX))
        ]
        topics = describe(self._admin, names)
        with ClientRegistry(self._topics.bootstrap_servers) as registry:
            groups = {
                client.topic: WEBHOOKS_GROUP if client.delivery == "webhook" else group_of(client.name)
                for client in registry.all()
            }
        groups |= {name: f"{self._application_id}-ingest" for name in names if name.startswith(SIGNALS_PREFIX)}
        starts: dict[tuple[str, int], int] = {}
        for name, topic in topics.items():
            if name not in groups:
                continue  # Of a client that was removed: nobody runs its activities.
            committed = self._committed(groups[name], name)
            for number in range(topic.partitions):
                first = self._topics.ends(name, number)[0]
                starts[name, number] = max(first, committed.get(number, first))
        return starts

    def _committed(self, group: str, topic: str) -> dict[int, int]:
        """Partition -> offset that the group has committed."""
        offsets = committed_offsets(self._topics.bootstrap_servers, [group])[group]
        return {partition: offset for (name, partition), offset in offsets.items() if name == topic}

    # --- the commands ------------------------------------------------------------------------------------------------

    def _cut(self, positions: dict[int, int], bounds: dict[int, tuple[int, int]]) -> dict[int, int]:
        sends: list[Send] = []
        for number, (first, end) in bounds.items():
            self._say(f"{COMMANDS} {number}: where it may end")
            for record in self._topics.read(COMMANDS, number, positions.get(number, first), end):
                source = source_of(record.value)
                if source is not None and source.offset >= positions.get(source.partition, 0):
                    sends.append(Send(number, record.offset, source.partition, source.offset))
        return consistent_ends({number: end for number, (_, end) in bounds.items()}, sends)

    # --- copying -----------------------------------------------------------------------------------------------------

    def _copy(self, topic: str, number: int, first: int, end: int) -> None:
        writer = PartitionWriter(self._store, topic, number)
        for record in self._records(topic, number, first, end):
            writer.add(record)
        self._copies.setdefault(topic, {})[number] = writer.end(first, end)

    def _records(
        self, topic: str, number: int, first: int, end: int, *, committed: bool = False
    ) -> Iterator[CopiedRecord]:
        self._say(f"{topic} {number}: {end - first} records")
        expected = first
        try:
            for message in self._topics.messages(topic, number, first, end, committed=committed):
                offset = message.offset()
                assert offset is not None
                if offset % _SAY_RECORDS == 0:
                    self._say(f"{topic} {number}: {offset} of {end}")
                expected = offset + 1
                headers = dead_letters.headers_of(message) or []
                yield CopiedRecord(offset, message.timestamp()[1], message.key(), message.value(), headers)
        except KafkaException as error:
            raise BackupError(
                f"{topic}, partition {number}, cannot be read at offset {expected}: {error.args[0].str()}. What to do: "
                "begin again; where retention removes records while they are read, make it longer"
            ) from error
