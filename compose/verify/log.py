"""The topics of a live cluster, read without a group: nothing is committed and nobody is disturbed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from backbeat.schemas.kafka.brokers import LEADER_MOVES, reach
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import COMMANDS, STATE, check_topics

_ASK_SECONDS = 20.0
_BATCH_RECORDS = 500
_WAIT_SECONDS = 1.0
#: Time without any record after which a partition cannot be read.
_STUCK_SECONDS = 60.0


class LogError(Exception):
    """A topic cannot be read as far as it must be."""


class Record(NamedTuple):
    """A record of a topic."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Topics:
    """The topics of commands and of the changelog."""

    def __init__(self, bootstrap_servers: str) -> None:
        """Look at the topics. TopicError: one is missing or wrong."""
        self.bootstrap_servers = bootstrap_servers
        self._admin: AdminClient = reach(bootstrap_servers)
        descriptions = check_topics(bootstrap_servers, development=True)
        self.partitions_count = descriptions[COMMANDS].partitions
        self.commands_id = descriptions[COMMANDS].topic_id
        self.state_id = descriptions[STATE].topic_id

    def ends(self, topic: str, partition: int, *, committed: bool = False) -> tuple[int, int]:
        """First offset and end of a partition; `committed`: the end below which all transactions are decided."""
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        place = TopicPartition(topic, partition)
        first, end = (
            self._admin.list_offsets({place: spec}, isolation_level=level, request_timeout=_ASK_SECONDS)[place]
            .result()
            .offset
            for spec in (OffsetSpec.earliest(), OffsetSpec.latest())  # type: ignore[no-untyped-call]
        )
        return first, end

    def read(self, topic: str, partition: int, start: int, end: int, *, committed: bool = False) -> Iterator[Record]:
        """The records from one offset on, below another. LogError: they cannot be read."""
        for message in self.messages(topic, partition, start, end, committed=committed):
            yield Record(message.offset() or 0, message.timestamp()[1], message.key(), message.value())

    def messages(
        self, topic: str, partition: int, start: int, end: int, *, committed: bool = False
    ) -> Iterator[Message]:
        """The same as the library has them, with headers. LogError."""
        if start >= end:
            return
        consumer = Consumer(
            {
                **connection(self.bootstrap_servers),
                # Required by the library; nothing joins the group and nothing is committed.
                "group.id": "backbeat-verify",
                "enable.auto.commit": False,
                "isolation.level": "read_committed" if committed else "read_uncommitted",
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
                "queued.min.messages": 2_000,
                "queued.max.messages.kbytes": 8_192,
                "log_level": 2,
            }
        )
        try:
            consumer.assign([TopicPartition(topic, partition, start)])
            heard_at = time.monotonic()
            reached = start
            while reached < end:
                # As soon as there is one: the library waits for as many as it is asked for.
                messages = consumer.consume(1, _WAIT_SECONDS)
                for message in messages + consumer.consume(_BATCH_RECORDS, 0.0) if messages else ():
                    heard_at = time.monotonic()
                    is_record, reached = _taken(message, reached)
                    if is_record and reached <= end:
                        yield message
                        heard_at = time.monotonic()
                if time.monotonic() - heard_at > _STUCK_SECONDS:
                    raise LogError(
                        f"{topic}, partition {partition}: nothing came for {_STUCK_SECONDS:.0f} s, at offset {reached} "
                        f"of {end}. What to do: see that all brokers run (backbeat topics check), and begin again"
                    )
        finally:
            consumer.close()


def _taken(message: Message, reached: int) -> tuple[bool, int]:
    """True for a record, and the offset to go on with. The end of a partition is told in a message, too."""
    error, offset = message.error(), message.offset()
    if error is not None:
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's own name
            return False, max(reached, offset or 0)
        if error.code() in LEADER_MOVES:
            return False, reached
        raise KafkaException(error)
    assert offset is not None
    return True, offset + 1
