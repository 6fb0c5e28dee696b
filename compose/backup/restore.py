"""Restore of a backup into a cluster without anything of Backbeat's."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import msgspec
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

from backbeat.compose.backup.errors import BackupError
from backbeat.compose.backup.manifest import Manifest, PartitionCopy, TopicCopy
from backbeat.compose.backup.parts import CopiedRecord, read_partition
from backbeat.compose.backup.writer import WITH_TIMES, OffsetWriter
from backbeat.gateway.archiving.stores import ArchiveStore
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.brokers import describe, reach, result
from backbeat.schemas.kafka.clients import ClientError, RegisteredClient, decode_client
from backbeat.schemas.kafka.groups import describe_group
from backbeat.schemas.kafka.topics import (
    ACTIVITIES_PREFIX,
    AUDIT,
    CLIENTS,
    COMMANDS,
    DEAD_LETTERS,
    PAYLOADS,
    PEOPLE,
    QUERIES,
    REPLIES,
    SIGNALS_PREFIX,
    STATE,
    client_topics,
    console_topics,
    create_missing,
    look,
    system_topics,
    topic_id,
)
from backbeat.schemas.messages.ids import partition_of
from backbeat.schemas.requests.decoding import from_msgpack
from backbeat.streams.core.records import Meta
from backbeat.streams.core.tables import META_KEY
from backbeat.streams.input.signal_command import admit_request
from backbeat.streams.state.versions import why_unknown_record

_PREFIX = "backbeat."
_OF_CLIENTS = (SIGNALS_PREFIX, ACTIVITIES_PREFIX)
_ASK_SECONDS = 20.0
_LOOK_SECONDS = 0.05
#: Of the topic of commands, in the meta records of a restore that has not ended: engines refuse to run on them.
NOT_ENDED = "none: a restore has not ended"
#: Others refer to their records by offset.
_AT_OFFSETS = (COMMANDS, PAYLOADS, DEAD_LETTERS)
_TIMESTAMP_TYPE = "message.timestamp.type"
#: Of requests and replies: nobody waits for them any more.
_SHORT_LIVED = {QUERIES, REPLIES}


class Restore:
    """Restore of a backup whose files were checked."""

    def __init__(
        self,
        bootstrap_servers: str,
        store: ArchiveStore,
        manifest: Manifest,
        source: str,
        say: Callable[[str], None],
        *,
        application_id: str,
        replication: int,
        development: bool,
    ) -> None:
        """`say`: called with what it does now. `application_id`: consumer group of the engines."""
        self._bootstrap_servers = bootstrap_servers
        self._store = store
        self._manifest = manifest
        self._source = source
        self._say = say
        self._application_id = application_id
        self._replication = replication
        self._development = development
        self._admin: AdminClient = reach(bootstrap_servers)
        self._writer = OffsetWriter(bootstrap_servers, self._admin, say)
        #: records of the state that were written, by partition
        self._state_counts: Counter[int] = Counter()

    def run(self) -> None:
        """Make the topics and write them. BackupError, TopicError."""
        self.check()
        self._make_topics()
        state = self._topic(STATE)
        # Should somebody change the topics of a restore that broke off so that engines take them.
        for copy in state.partitions:
            self._write_meta(copy.partition, Meta(topic_id=NOT_ENDED))
        # Engines that have come meanwhile run on; those that come from now on refuse the state.
        self._check_alone()
        for name in _AT_OFFSETS:
            for copy in self._topic(name).partitions:
                self._writer.write_at_offsets(name, copy.partition, copy.first, copy.end, self._read(copy))
        for name in (CLIENTS, PEOPLE, AUDIT):
            self._write_topic(self._topic(name))
        for topic in self._manifest.topics:
            if topic.name.startswith(ACTIVITIES_PREFIX):
                self._write_topic(topic)
        self._take_signals()
        for copy in state.partitions:
            records = (record for record in self._read(copy) if record.key != META_KEY)
            self._write_state(copy.partition, records)
        self._check_alone()
        for copy in state.partitions:
            self._write_meta(copy.partition, self._meta(copy.partition))
        self._set_times("LogAppendTime")

    def check(self) -> None:
        """Refuse a cluster that is in use, and a state of a newer Backbeat. BackupError."""
        self._check_empty()
        self._check_known()

    # --- before ------------------------------------------------------------------------------------------------------

    def _check_alone(self) -> None:
        """Refuse to go on where engines have come, or somebody else has written to the state."""
        self._check_no_engines()
        places = {
            TopicPartition(STATE, partition): OffsetSpec.latest()  # type: ignore[no-untyped-call]
            for partition in self._state_counts
        }
        ends = self._admin.list_offsets(places, request_timeout=_ASK_SECONDS) if places else {}
        for place, future in ends.items():
            if future.result().offset > self._state_counts[place.partition]:
                raise BackupError(
                    f"somebody else writes to {STATE}, partition {place.partition}. What to do: stop the engines, "
                    "delete the backbeat topics of this cluster, and begin again"
                )

    def _check_no_engines(self) -> None:
        if describe_group(self._bootstrap_servers, self._application_id, _ASK_SECONDS).members:
            raise BackupError(
                f"engines run on this cluster (consumer group {self._application_id}). What to do: stop them, delete "
                "the backbeat topics, or name another cluster"
            )

    def _check_empty(self) -> None:
        self._check_no_engines()
        names = [name for name in self._admin.list_topics(timeout=_ASK_SECONDS).topics if name.startswith(_PREFIX)]
        places = {
            TopicPartition(name, number): OffsetSpec.latest()  # type: ignore[no-untyped-call]
            for name, topic in describe(self._admin, names).items()
            if name not in _SHORT_LIVED
            for number in range(topic.partitions)
        }
        ends = self._admin.list_offsets(places, request_timeout=_ASK_SECONDS) if places else {}
        used = sorted({place.topic for place, future in ends.items() if future.result().offset > 0})
        if used:
            raise BackupError(
                f"the cluster is not empty: {', '.join(used)} had records. What to do: name another cluster, or stop "
                "everything that uses this one and delete all topics whose names begin with backbeat., if nobody needs "
                "them"
            )

    def _check_known(self) -> None:
        """Refuse a state of a newer Backbeat: its engines would."""
        for partition, value in self._manifest.metas.items():
            reason = why_unknown_record(META_KEY, value)
            if reason is not None:
                raise BackupError(f"the backup {self._source}: partition {partition}: {reason}")

    def _topic(self, name: str) -> TopicCopy:
        return self._manifest.topic(name) or TopicCopy(name, "", [])

    def _read(self, copy: PartitionCopy) -> Iterator[CopiedRecord]:
        return read_partition(self._store, self._source, copy)

    # --- topics ------------------------------------------------------------------------------------------------------

    def _make_topics(self) -> None:
        """Make the topics; those whose records keep their times take them until the end of the restore.

        Engines refuse such topics.
        """
        self._say("making the topics")
        partitions = self._manifest.partitions
        specs = {spec.name: spec for spec in (*system_topics(partitions), *console_topics())}
        counts = {topic.name: len(topic.partitions) for topic in self._manifest.topics}
        for name, count in counts.items():
            if name.startswith(_OF_CLIENTS):
                client = name.removeprefix(SIGNALS_PREFIX).removeprefix(ACTIVITIES_PREFIX)
                specs |= {spec.name: spec for spec in client_topics(client, count) if spec.name == name}
        for name in WITH_TIMES:
            specs[name] = replace(specs[name], config={**specs[name].config, _TIMESTAMP_TYPE: "CreateTime"})
        create_missing(self._admin, specs.values(), self._replication)
        self._set_times("CreateTime")
        counts_made = {
            name: topic.partitions for name, topic in look(self._admin, [*counts], frozenset(counts)).items()
        }
        for name, count in counts.items():
            if counts_made.get(name, 0) < count:
                raise BackupError(
                    f"topic {name} has {counts_made.get(name, 0)} partitions, the backup {count}. What to do: delete "
                    "the empty topics of this cluster: they are made with the backup's numbers"
                )

    def _set_times(self, timestamp_type: str) -> None:
        """Set whose time records get; returns when a broker says so."""
        deadline = time.monotonic() + _ASK_SECONDS
        while others := [
            name
            for name, topic in look(self._admin, list(WITH_TIMES), frozenset(WITH_TIMES)).items()
            if topic.config.get(_TIMESTAMP_TYPE) != timestamp_type
        ]:
            if time.monotonic() > deadline:
                raise BackupError(
                    f"{_TIMESTAMP_TYPE} of {', '.join(others)} does not become {timestamp_type}. What to do: see that "
                    "all brokers run, delete the backbeat topics of this cluster, and begin again"
                )
            entry = ConfigEntry(_TIMESTAMP_TYPE, timestamp_type, incremental_operation=AlterConfigOpType.SET)
            resources = [ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry]) for name in others]
            for future in self._admin.incremental_alter_configs(resources, request_timeout=_ASK_SECONDS).values():
                result(future)
            time.sleep(_LOOK_SECONDS)

    # --- records -----------------------------------------------------------------------------------------------------

    def _write_topic(self, topic: TopicCopy) -> None:
        for copy in topic.partitions:
            self._writer.write(topic.name, copy.partition, self._read(copy))
            self._writer.flush(topic.name, copy.partition)

    def _write_meta(self, partition: int, meta: Meta | None) -> None:
        value = None if meta is None else msgspec.msgpack.encode(meta)
        self._write_state(partition, [CopiedRecord(0, 0, META_KEY, value, [])])

    def _write_state(self, partition: int, records: Iterable[CopiedRecord]) -> None:
        def counted() -> Iterator[CopiedRecord]:
            for record in records:
                self._state_counts[partition] += 1
                yield record

        self._writer.write(STATE, partition, counted())
        self._writer.flush(STATE, partition)

    def _meta(self, partition: int) -> Meta | None:
        """The partition's meta record for this cluster; null: it has none."""
        value = self._manifest.metas.get(partition)
        if value is None:
            return None
        meta = from_msgpack(value, Meta)
        meta.topic_id = topic_id(self._bootstrap_servers, COMMANDS)
        meta.transactional_id = ""  # No process of this cluster has written it.
        return meta

    def _take_signals(self) -> None:
        """Write the commands of signals that no engine had taken: with the ids that they would have had there.

        One of which the command is in the backup already is a repeat then. What cannot be taken goes to its topic, and
        becomes a dead letter there.
        """
        clients = _CopiedClients(self._topic(CLIENTS), self._read)
        for topic in self._manifest.topics:
            if not topic.name.startswith(SIGNALS_PREFIX):
                continue
            for copy in topic.partitions:
                for record in self._read(copy):
                    self._take_signal(clients, topic, copy.partition, record)
                self._writer.flush(topic.name, copy.partition)

    def _take_signal(self, clients: _CopiedClients, topic: TopicCopy, partition: int, record: CopiedRecord) -> None:
        try:
            signal = admit_request(
                record.value,
                record.headers,
                topic.name.removeprefix(SIGNALS_PREFIX),
                by_name=clients.by_name,
                by_id=clients.by_id,
                place=lambda: (topic.topic_id, partition, record.offset),
            )
        except DecodeError:
            self._writer.write(topic.name, partition, [record])
            return
        command = CopiedRecord(0, 0, signal.key, signal.value, [])
        self._writer.write(COMMANDS, partition_of(signal.route, self._manifest.partitions), [command])


class _CopiedClients:
    """The registry of a backup."""

    def __init__(self, topic: TopicCopy, read: Callable[[PartitionCopy], Iterator[CopiedRecord]]) -> None:
        self._by_id: dict[bytes, RegisteredClient] = {}
        for copy in topic.partitions:
            for record in read(copy):
                try:
                    identity, client = decode_client(record.key, record.value)
                except ClientError:
                    continue  # Every reader passes it over.
                if client is None:
                    self._by_id.pop(identity, None)
                else:
                    self._by_id[identity] = client
        self._by_name: Mapping[str, RegisteredClient] = {
            client.name: client for client in sorted(self._by_id.values(), key=lambda client: client.id, reverse=True)
        }

    def by_id(self, identity: bytes) -> RegisteredClient | None:
        """A client."""
        return self._by_id.get(identity)

    def by_name(self, name: str) -> RegisteredClient | None:
        """Client of a name; of several the one with the smallest id, as everywhere."""
        return self._by_name.get(name)
