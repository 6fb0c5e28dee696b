"""How much waits on the topics: what each group of readers has not taken yet, by partition (behaviour document, 7).

Asked of the brokers alone. An engine's position in the commands is the one of its newest commit, so a moment's work is
counted as waiting; where exactly it is, its metrics say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from backbeat.schemas.kafka.brokers import ASK_SECONDS_MAX, result
from backbeat.schemas.kafka.topics import ACTIVITIES_PREFIX, COMMANDS, SIGNALS_PREFIX, STATE

#: The consumer group of engines where nothing else is said (`application_id`).
APPLICATION_ID_USUAL = "backbeat"


@dataclass(frozen=True, kw_only=True)
class PartitionQueue:
    """One partition, as one group has read it."""

    partition: int
    #: the first record that there still is, and the one after the last
    first: int
    end: int
    #: the next record that the group will take; None: it has taken none yet
    committed: int | None

    @property
    def waiting(self) -> int:
        """Records that the group has not taken yet."""
        return max(0, self.end - max(self.first, self.first if self.committed is None else self.committed))


@dataclass(frozen=True, kw_only=True)
class Queue:
    """One topic, as one group has read it."""

    topic: str
    #: empty: nobody has ever taken anything from it
    group: str
    #: the group's members are there: `STABLE`; nobody is: `EMPTY`
    group_state: str
    partitions: list[PartitionQueue]

    @property
    def waiting(self) -> int:
        """Records that the group has not taken yet."""
        return sum(each.waiting for each in self.partitions)

    @property
    def client(self) -> str:
        """The client application whose topic it is; empty: it is the system's."""
        for prefix in (ACTIVITIES_PREFIX, SIGNALS_PREFIX):
            if self.topic.startswith(prefix):
                return self.topic.removeprefix(prefix)
        return ""


@dataclass(frozen=True, kw_only=True)
class Queues:
    """All of them."""

    #: of the engines: commands to be applied and committed
    commands: Queue
    #: of the ingest: signals to be taken in, a topic each
    signals: list[Queue]
    #: of workers and gateways: activities to be run, a topic and group each
    activities: list[Queue]
    #: of the changelog: partition -> the offset after its last record
    state_ends: dict[int, int]


def read_queues(admin: AdminClient, application_id: str = APPLICATION_ID_USUAL) -> Queues:
    """Ask the brokers. KafkaException where they do not answer."""
    counts = {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=ASK_SECONDS_MAX).topics.items()}
    activities = sorted(name for name in counts if name.startswith(ACTIVITIES_PREFIX))
    signals = sorted(name for name in counts if name.startswith(SIGNALS_PREFIX))
    wanted = [name for name in (COMMANDS, STATE, *signals, *activities) if name in counts]
    places = [TopicPartition(name, number) for name in wanted for number in range(counts[name])]
    firsts, ends = _offsets(admin, places, OffsetSpec.earliest()), _offsets(admin, places, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    groups = _groups(admin)
    committed = _committed(admin, {*groups, application_id, f"{application_id}-ingest"})

    def queue(topic: str, group: str) -> Queue:
        taken = committed.get(group, {})
        return Queue(
            topic=topic,
            group=group,
            group_state=groups.get(group, ""),
            partitions=[
                PartitionQueue(
                    partition=number,
                    first=firsts.get((topic, number), 0),
                    end=ends.get((topic, number), 0),
                    committed=taken.get((topic, number)),
                )
                for number in range(counts.get(topic, 0))
            ],
        )

    of_clients = []
    for topic in activities:
        readers = sorted(group for group, taken in committed.items() if any(name == topic for name, _ in taken))
        of_clients += [queue(topic, group) for group in readers or [""]]
    return Queues(
        commands=queue(COMMANDS, application_id),
        signals=[queue(topic, f"{application_id}-ingest") for topic in signals],
        activities=of_clients,
        state_ends={number: ends.get((STATE, number), 0) for number in range(counts.get(STATE, 0))},
    )


def _offsets(admin: AdminClient, places: list[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], int]:
    """Offsets by topic and partition; one that has no leader at the moment is left out."""
    if not places:
        return {}
    asked = admin.list_offsets(
        dict.fromkeys(places, spec), isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=ASK_SECONDS_MAX
    )
    found = {}
    for place, future in asked.items():
        try:
            found[place.topic, place.partition] = result(future).offset
        except KafkaException as error:
            if not error.args[0].retriable():
                raise
    return found


def _groups(admin: AdminClient) -> dict[str, str]:
    """Every group and its state."""
    listed = result(admin.list_consumer_groups(request_timeout=ASK_SECONDS_MAX))
    return {group.group_id: group.state.name for group in listed.valid}


def _committed(admin: AdminClient, groups: Iterable[str]) -> dict[str, dict[tuple[str, int], int]]:
    """Group -> (topic, partition) -> the next record that it will take. One question a group, all at once."""
    asked = [
        (
            group,
            admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=ASK_SECONDS_MAX),
        )
        for group in sorted(groups)
    ]
    found: dict[str, dict[tuple[str, int], int]] = {}
    for group, futures in asked:
        (future,) = futures.values()
        try:
            places = result(future).topic_partitions or []
        except KafkaException as error:
            # One that went away in between.
            if error.args[0].name() != "GROUP_ID_NOT_FOUND":
                raise
            continue
        found[group] = {(each.topic, each.partition): each.offset for each in places if each.offset >= 0}
    return found
