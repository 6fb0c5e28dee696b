"""Backlog of the topics: records that each consumer group has not consumed yet, by partition (behaviour document, 7).

Read from the brokers alone. An engine's position is that of its newest commit, so commands applied since then count as
waiting; the engine's metrics have the exact position.
"""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from backbeat.schemas.kafka.broker_log import quiet_aiokafka
from backbeat.schemas.kafka.brokers import ASK_SECONDS_MAX, LEADER_MOVES, result
from backbeat.schemas.kafka.topics import ACTIVITIES_PREFIX, COMMANDS, SIGNALS_PREFIX, STATE

#: Consumer group of the engines by default (`application_id`).
APPLICATION_ID_USUAL = "backbeat"


@dataclass(frozen=True, kw_only=True)
class PartitionQueue:
    """A partition of a topic for one consumer group."""

    partition: int
    #: Offset of the first record kept, and the offset after the last.
    first: int
    end: int
    #: Next offset that the group will consume; None: it has not consumed any.
    committed: int | None

    @property
    def waiting(self) -> int:
        """Records that the group has not consumed yet."""
        return max(0, self.end - max(self.first, self.first if self.committed is None else self.committed))


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A topic for one consumer group."""

    topic: str
    #: Consumer group; empty: none has ever consumed the topic.
    group: str
    #: State of the group by Kafka's name: `STABLE` with members, `EMPTY` without.
    group_state: str
    partitions: list[PartitionQueue]

    @property
    def waiting(self) -> int:
        """Records that the group has not consumed yet."""
        return sum(partition.waiting for partition in self.partitions)

    @property
    def client(self) -> str:
        """Client application of the topic; empty for the system's topics."""
        for prefix in (ACTIVITIES_PREFIX, SIGNALS_PREFIX):
            if self.topic.startswith(prefix):
                return self.topic.removeprefix(prefix)
        return ""


@dataclass(frozen=True, kw_only=True)
class Queues:
    """Backlog of the commands, signals and activities topics."""

    #: Engines' queue: commands to be applied and committed.
    commands: Queue
    #: Ingest's queues: signals to be forwarded, one entry a topic.
    signals: list[Queue]
    #: Workers' and gateways' queues: activities to be run, one entry a topic and group.
    activities: list[Queue]
    #: Offset after the changelog's last record, by partition.
    state_ends: dict[int, int]


def read_queues(admin: AdminClient, bootstrap_servers: str, application_id: str = APPLICATION_ID_USUAL) -> Queues:
    """Read the backlog from the brokers. KafkaException: they do not answer."""
    # Its aiokafka takes a tenth of a second to import, which no start waits for.
    from backbeat.schemas.kafka.committed import committed_offsets  # noqa: PLC0415

    quiet_aiokafka()
    counts = {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=ASK_SECONDS_MAX).topics.items()}
    activities = sorted(name for name in counts if name.startswith(ACTIVITIES_PREFIX))
    signals = sorted(name for name in counts if name.startswith(SIGNALS_PREFIX))
    topics = [name for name in (COMMANDS, STATE, *signals, *activities) if name in counts]
    partitions = [TopicPartition(name, number) for name in topics for number in range(counts[name])]
    firsts, ends = _offsets(admin, partitions, OffsetSpec.earliest()), _offsets(admin, partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    groups = _groups(admin)
    committed = committed_offsets(bootstrap_servers, {*groups, application_id, f"{application_id}-ingest"})

    def queue(topic: str, group: str) -> Queue:
        offsets = committed.get(group, {})
        return Queue(
            topic=topic,
            group=group,
            group_state=groups.get(group, ""),
            partitions=[
                PartitionQueue(
                    partition=partition,
                    first=firsts.get((topic, partition), 0),
                    end=ends.get((topic, partition), 0),
                    committed=offsets.get((topic, partition)),
                )
                for partition in range(counts.get(topic, 0))
            ],
        )

    client_queues = []
    for topic in activities:
        readers = sorted(group for group, offsets in committed.items() if any(name == topic for name, _ in offsets))
        client_queues += [queue(topic, group) for group in readers or [""]]
    return Queues(
        commands=queue(COMMANDS, application_id),
        signals=[queue(topic, f"{application_id}-ingest") for topic in signals],
        activities=client_queues,
        state_ends={partition: ends.get((STATE, partition), 0) for partition in range(counts.get(STATE, 0))},
    )


def _offsets(admin: AdminClient, partitions: list[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], int]:
    """Offsets by topic and partition, without those that have no leader at the moment."""
    if not partitions:
        return {}
    futures = admin.list_offsets(
        dict.fromkeys(partitions, spec),
        isolation_level=IsolationLevel.READ_UNCOMMITTED,
        request_timeout=ASK_SECONDS_MAX,
    )
    offsets = {}
    for partition, future in futures.items():
        try:
            offsets[partition.topic, partition.partition] = result(future).offset
        except KafkaException as error:
            # Brokers that do not answer at all are told of: no offsets would look like an empty queue.
            if error.args[0].code() not in LEADER_MOVES:
                raise
    return offsets


def _groups(admin: AdminClient) -> dict[str, str]:
    """Consumer groups and their states."""
    groups = result(admin.list_consumer_groups(request_timeout=ASK_SECONDS_MAX))
    return {group.group_id: group.state.name for group in groups.valid}
