"""Writer of a restore: records with the offsets and times that they had."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from backbeat.compose.backup.errors import BackupError
from backbeat.compose.backup.parts import CopiedRecord
from backbeat.schemas.kafka.brokers import result
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import AUDIT, COMMANDS, DEAD_LETTER_BYTES_MAX, DEAD_LETTERS, PAYLOADS

#: Their records keep their times: those of commands are the time of the rules.
WITH_TIMES = (COMMANDS, PAYLOADS, DEAD_LETTERS, AUDIT)

_POLL_SECONDS = 0.1
_FLUSH_SECONDS = 120.0
_SAY_RECORDS = 5_000


class OffsetWriter:
    """Writes partitions of empty topics, one after the other."""

    def __init__(self, bootstrap_servers: str, admin: AdminClient, say: Callable[[str], None]) -> None:
        self._admin = admin
        self._say = say
        self._error: str | None = None
        self._next = 0  #: offset that the next acknowledged record must have; -1: any
        self._producer = Producer(
            {
                **connection(bootstrap_servers),
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 20,
                "compression.type": "lz4",
                "message.max.bytes": 2 * DEAD_LETTER_BYTES_MAX,
                "queue.buffering.max.kbytes": 64 * 1024,
                "log_level": 2,
            }
        )

    def write_at_offsets(
        self, topic: str, partition: int, first: int, end: int, records: Iterable[CopiedRecord]
    ) -> None:
        """Write records at their offsets, and fill offsets that none has, up to `end`. BackupError.

        Offsets before `first` are filled and deleted: no partition can begin elsewhere than at 0.
        """
        self._next = offset = timestamp = 0
        for record in records:
            timestamp = timestamp or record.timestamp
            offset = self._fill(topic, partition, offset, record.offset, timestamp)
            self._produce(topic, partition, record)
            timestamp = record.timestamp
            offset += 1
            if offset % _SAY_RECORDS == 0:
                self._say(f"{topic} {partition}: {offset} of {end}")
        self._fill(topic, partition, offset, end, timestamp)
        self.flush(topic, partition)
        if first > 0:
            (future,) = self._admin.delete_records([TopicPartition(topic, partition, first)]).values()
            result(future)

    def write(self, topic: str, partition: int, records: Iterable[CopiedRecord]) -> None:
        """Write records behind whatever is there. BackupError."""
        self._next = -1
        for count, record in enumerate(records):
            self._produce(topic, partition, record)
            if count % _SAY_RECORDS == 0:
                self._say(f"{topic} {partition}: {count} records")

    def flush(self, topic: str, partition: int) -> None:
        """Wait until all is acknowledged. BackupError."""
        left_count = self._producer.flush(_FLUSH_SECONDS)
        if left_count and self._error is None:
            self._error = f"{left_count} records are not acknowledged after {_FLUSH_SECONDS:.0f} s"
        if self._error is not None:
            raise BackupError(
                f"{topic}, partition {partition}, cannot be written: {self._error}. What to do: see that all brokers "
                "run, delete the backbeat topics of this cluster, and begin again"
            )

    def _fill(self, topic: str, partition: int, offset: int, end: int, timestamp: int) -> int:
        """Records without content where the original has none any more, or a transaction's marker."""
        while offset < end:
            self._produce(topic, partition, CopiedRecord(offset, timestamp, None, None, []))
            offset += 1
        return offset

    def _produce(self, topic: str, partition: int, record: CopiedRecord) -> None:
        headers: list[tuple[str, str | bytes | None]] = [*record.headers]
        while True:
            if self._error is not None:
                self.flush(topic, partition)
            try:
                self._producer.produce(
                    topic,
                    record.value,
                    record.key,
                    partition,
                    on_delivery=self._delivered,
                    timestamp=max(0, record.timestamp),
                    headers=headers or None,
                )
            except BufferError:
                self._producer.poll(_POLL_SECONDS)
            else:
                self._producer.poll(0)
                return

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._error = self._error or error.str()
        elif message.topic() in WITH_TIMES and message.timestamp()[0] != TIMESTAMP_CREATE_TIME:
            self._error = self._error or "its broker has not heard yet that records are to keep their times"
        elif self._next >= 0:
            if message.offset() != self._next:
                self._error = self._error or f"somebody else writes to it, too, at offset {self._next}"
            self._next += 1
