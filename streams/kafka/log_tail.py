"""First data record of a partition from an offset on: control records and compacted-away offsets are skipped."""

from __future__ import annotations

from confluent_kafka import Consumer, KafkaError, TopicPartition

from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import COMMANDS
from backbeat.streams.ports.errors import EngineError

_POLL_SECONDS = 10.0


def first_data(bootstrap_servers: str, group: str, partition: int, begin: int) -> int:
    """Offset of the first data record from `begin` on, or the log's end. EngineError: the log cannot be read there."""
    consumer = Consumer(
        {
            **connection(bootstrap_servers),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
    )
    try:
        consumer.assign([TopicPartition(COMMANDS, partition, begin)])
        message = consumer.poll(_POLL_SECONDS)
        if message is None:
            raise EngineError(f"partition {partition}: the log cannot be read from offset {begin} on")
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
            raise EngineError(f"partition {partition}: the log begins after offset {begin}: {error.str()}")
        offset = message.offset()
        assert offset is not None
        return offset
    finally:
        consumer.close()
