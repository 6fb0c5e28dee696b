"""Reader of the changelog topic: committed records of all partitions, from given offsets on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from backbeat.schemas.kafka.broker_log import OUTAGES
from backbeat.schemas.kafka.brokers import LEADER_MOVES
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import STATE, topic_id
from backbeat.streams.ports.errors import NewerRecordError
from backbeat.streams.state.versions import why_unknown_record

logger = logging.getLogger(__name__)

_ASK_SECONDS = 20.0


class OffsetRange(NamedTuple):
    """First and end offset of a partition, uncommitted records included."""

    first: int
    end: int


class ReadResult(NamedTuple):
    """Result of one read."""

    #: Oldest first in each partition.
    records: list[tuple[bytes, bytes | None]]
    #: Next offset to read, by partition.
    reached: dict[int, int]


class Changelog:
    """Reader outside of any consumer group. Not to be shared between threads."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._admin = AdminClient({**connection(bootstrap_servers), "log_level": 2})
        self._consumer: Consumer | None = None
        self.topic_id = topic_id(bootstrap_servers, STATE)

    def ends(self) -> dict[int, OffsetRange]:
        """First and end offset of each partition now."""
        partition_numbers = self._admin.list_topics(STATE, timeout=_ASK_SECONDS).topics[STATE].partitions
        partitions = [TopicPartition(STATE, partition) for partition in partition_numbers]
        first, end = (self._offsets(partitions, spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))  # type: ignore[no-untyped-call]
        return {partition: OffsetRange(first[partition], end[partition]) for partition in sorted(partition_numbers)}

    def _offsets(self, partitions: list[TopicPartition], spec: Any) -> dict[int, int]:
        futures = self._admin.list_offsets(
            dict.fromkeys(partitions, spec),
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=_ASK_SECONDS,
        )
        return {partition.partition: future.result().offset for partition, future in futures.items()}

    def seek(self, positions: Mapping[int, int]) -> None:
        """Continue from these offsets."""
        self.close()
        self._consumer = Consumer(
            {
                **connection(self._bootstrap_servers),
                # Required by the library; nothing joins the group and nothing is committed.
                "group.id": "backbeat-projection",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 500,
                "fetch.min.bytes": 1,
                "queued.min.messages": 20_000,
                "queued.max.messages.kbytes": 16_384,
                "reconnect.backoff.max.ms": 1000,
                "log_level": 2,
                "error_cb": _note_error,
            }
        )
        self._consumer.assign([TopicPartition(STATE, partition, offset) for partition, offset in positions.items()])

    def read(self, records_max: int, seconds: float, gather_seconds: float) -> ReadResult:
        """New committed records, once there are any, with those of the next `gather_seconds`; at most `records_max`.

        NewerRecordError: one of the records is of a newer Backbeat; none is returned.
        """
        assert self._consumer is not None, "seek comes first"
        messages = self._consumer.consume(1, seconds)
        if messages:
            messages += self._consumer.consume(records_max - 1, gather_seconds)
        records: list[tuple[bytes, bytes | None]] = []
        reached: dict[int, int] = {}
        for message in messages:
            error, partition, offset = message.error(), message.partition(), message.offset()
            if error is None:
                key = message.key()
                assert key is not None, "a changelog record without a key"
                assert partition is not None
                assert offset is not None
                value = message.value()
                _refuse_newer(partition, key, value)
                records.append((key, value))
                reached[partition] = offset + 1
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's own name
                # The end is reported behind transaction markers too, which are no records: a wait for an offset behind
                # a marker would never end without it.
                assert partition is not None
                assert offset is not None
                reached[partition] = max(reached.get(partition, 0), offset)
            elif error.code() not in LEADER_MOVES:
                raise KafkaException(error)
        return ReadResult(records, reached)

    def close(self) -> None:
        """Release the connections."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None


class Lag:
    """Lag behind the changelog. Thread safe; blocks: it asks Kafka."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._changelog: Changelog | None = None
        self._lock = threading.Lock()

    def behind(self, reached: Mapping[int, int]) -> dict[int, int]:
        """Partition -> records behind, for a reader at these offsets; empty while those are unknown."""
        if not reached:
            return {}
        with self._lock:
            if self._changelog is None:
                self._changelog = Changelog(self._bootstrap_servers)
            ends = self._changelog.ends()
        return {
            partition: max(0, offset_range.end - reached.get(partition, offset_range.first))
            for partition, offset_range in ends.items()
        }


def _refuse_newer(partition: int, key: bytes, value: bytes | None) -> None:
    reason = None if value is None else why_unknown_record(key, value)
    if reason is not None:
        raise NewerRecordError(f"partition {partition}: {reason}")


def _note_error(error: KafkaError) -> None:
    # librdkafka retries by itself; each single connection that fails is not worth a line.
    if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - librdkafka's own codes have this name
        OUTAGES.tell(logger, f"the projection does not follow at the moment, {error.str()}")
