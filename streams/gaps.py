"""Gaps in the offsets of the commands topic: control records and compaction make harmless ones."""

from __future__ import annotations

from confluent_kafka import Consumer, KafkaError, TopicPartition

from backbeat.streams.partition import EngineError
from backbeat.streams.security import connection
from backbeat.streams.settings import EngineSettings
from backbeat.streams.topics import COMMANDS

_POLL_SECONDS = 10.0


class Gaps:
    """Looks at the log where offsets are missing, and remembers what it saw."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        #: partition -> (offset, the first one from there on that has data)
        self._seen: dict[int, tuple[int, int]] = {}

    def forget(self) -> None:
        """A new assignment."""
        self._seen.clear()

    def is_missing(self, partition: int, begin: int, until: int) -> bool:
        """Whether the log has a data record in [begin, until); raises EngineError where it begins later."""
        seen = self._seen.get(partition)
        if seen is None or seen[0] != begin:
            seen = self._seen[partition] = (begin, self.first_data(partition, begin))
        return seen[1] < until

    def first_data(self, partition: int, begin: int) -> int:
        """The offset of the first data record from `begin` on, or where the log ends."""
        consumer = Consumer(
            {
                **connection(self._settings.bootstrap_servers),
                "group.id": self._settings.application_id,
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
