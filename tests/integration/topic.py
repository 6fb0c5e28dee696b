"""A topic read whole, or followed: what stands in the log, without a consumer group."""

from __future__ import annotations

import time
from collections.abc import Iterator

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

SECONDS_MAX = 120.0
#: A topic that was made a moment ago, and one of a broker that came back a moment ago, is known before its leaders are.
_LEADERLESS = {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.LEADER_NOT_AVAILABLE}


def consumer(kafka: str, **more: object) -> Consumer:
    """A consumer that joins nothing and commits nothing."""
    return Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": "tests-readers",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "log_level": 0,
            **more,
        }
    )


def batch(consumer: Consumer, seconds: float = 0.2) -> list[Message]:
    """The messages that have come, as soon as there is one. (`consume` waits for as many as it is asked for.)"""
    first = consumer.consume(1, seconds)
    return first + consumer.consume(2_000, 0.0) if first else []


def ends(kafka: str, topic: str, admin: AdminClient | None = None) -> dict[int, int]:
    """The end of each partition as a read_uncommitted reader sees it."""
    admin = admin or AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        numbers = admin.list_topics(topic, timeout=120).topics[topic].partitions
        asked = {TopicPartition(topic, number): OffsetSpec.latest() for number in numbers}
        offsets = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=120)
        try:
            return {place.partition: future.result().offset for place, future in offsets.items()}
        except KafkaException as error:
            if error.args[0].code() not in _LEADERLESS or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Reader:
    """Reads a topic from its beginning, each time up to the end that it has by then."""

    def __init__(self, kafka: str, topic: str, *, committed: bool = False) -> None:
        """`committed`: only what was committed; an open transaction is waited for, not taken for the end."""
        self.kafka, self.topic = kafka, topic
        self._admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
        isolation = "read_committed" if committed else "read_uncommitted"
        self._consumer = consumer(kafka, **{"isolation.level": isolation, "enable.partition.eof": True})
        self.positions = dict.fromkeys(ends(kafka, topic, self._admin), 0)
        self._consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in self.positions])

    def read(self, until: dict[int, int] | None = None) -> Iterator[Message]:
        """The records since the last time, up to `until`, or up to the end as of now."""
        until = until or ends(self.kafka, self.topic, self._admin)
        deadline = time.monotonic() + SECONDS_MAX
        while any(self.positions[number] < end for number, end in until.items()):
            assert time.monotonic() < deadline, f"{self.topic} was read up to {self.positions} of {until} only"
            for message in batch(self._consumer):
                error = message.error()
                if error is None:
                    yield message
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error.str()
            for place in self._consumer.position([TopicPartition(self.topic, number) for number in self.positions]):
                self.positions[place.partition] = max(self.positions[place.partition], place.offset)

    def close(self) -> None:
        self._consumer.close()


def read_whole(kafka: str, topic: str, *, committed: bool = False) -> list[Message]:
    """Every record that the topic has now."""
    reader = Reader(kafka, topic, committed=committed)
    try:
        return list(reader.read())
    finally:
        reader.close()


def state(kafka: str, topic: str) -> list[dict[bytes, bytes]]:
    """What a compacted topic says, by partition: the newest value of each key; committed records only."""
    records_of: list[dict[bytes, bytes]] = [{} for _ in ends(kafka, topic)]
    for message in read_whole(kafka, topic, committed=True):
        records = records_of[message.partition()]
        if message.value() is None:
            records.pop(message.key(), None)
        else:
            records[message.key()] = message.value()
    return records_of
