"""The changelog topic as the projection reads it: committed records of all partitions, from given offsets on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from backbeat.schemas.kafka.broker_log import OUTAGES
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import STATE, topic_id
from backbeat.streams.engine.ports import NewerRecordError
from backbeat.streams.state.versions import why_unknown_record

logger = logging.getLogger(__name__)

_ASK_SECONDS = 20.0


class Ends(NamedTuple):
    """Where a partition begins and ends, uncommitted records included."""

    first: int
    end: int


class Found(NamedTuple):
    """What one read brought."""

    #: oldest first in each partition
    records: list[tuple[bytes, bytes | None]]
    #: partition -> the offset up to which it is read now
    reached: dict[int, int]


class Changelog:
    """One reader. Joins no group and commits nothing. Not to be shared between threads."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._admin = AdminClient({**connection(bootstrap_servers), "log_level": 2})
        self._consumer: Consumer | None = None
        self.topic_id = topic_id(bootstrap_servers, STATE)

    def ends(self) -> dict[int, Ends]:
        """Where each partition begins and ends now."""
        known = self._admin.list_topics(STATE, timeout=_ASK_SECONDS).topics[STATE].partitions
        places = [TopicPartition(STATE, number) for number in known]
        first, end = (self._offsets(places, spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))  # type: ignore[no-untyped-call]
        return {number: Ends(first[number], end[number]) for number in sorted(known)}

    def _offsets(self, places: list[TopicPartition], spec: Any) -> dict[int, int]:
        asked = self._admin.list_offsets(
            dict.fromkeys(places, spec),
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=_ASK_SECONDS,
        )
        return {place.partition: future.result().offset for place, future in asked.items()}

    def seek(self, positions: Mapping[int, int]) -> None:
        """Read on from here."""
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
        self._consumer.assign([TopicPartition(STATE, number, offset) for number, offset in positions.items()])

    def read(self, records_max: int, seconds: float, gather_seconds: float) -> Found:
        """What has been committed since, as soon as there is something, and what comes in the moment after, some.

        NewerRecordError, and nothing of it, where one of the records is a newer Backbeat's.
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
                # It stands behind the markers of transactions too, which are no records: whoever waits for an offset
                # behind a marker would else wait for ever.
                assert partition is not None
                assert offset is not None
                reached[partition] = max(reached.get(partition, 0), offset)
            elif not error.retriable():
                raise KafkaException(error)
        return Found(records, reached)

    def close(self) -> None:
        """Release the connections."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None


class Lag:
    """How far behind the changelog somebody is. Safe to use from any thread; blocks: it asks Kafka."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._changelog: Changelog | None = None
        self._lock = threading.Lock()

    def behind(self, reached: Mapping[int, int]) -> dict[int, int]:
        """Partition -> records behind, of one who has reached these offsets; empty where that is not known yet."""
        if not reached:
            return {}
        with self._lock:
            if self._changelog is None:
                self._changelog = Changelog(self._bootstrap_servers)
            ends = self._changelog.ends()
        return {number: max(0, each.end - reached.get(number, each.first)) for number, each in ends.items()}


def _refuse_newer(partition: int, key: bytes, value: bytes | None) -> None:
    why = None if value is None else why_unknown_record(key, value)
    if why is not None:
        raise NewerRecordError(f"partition {partition}: {why}")


def _note_error(error: KafkaError) -> None:
    # librdkafka tries again by itself; each single connection that fails is not worth a line.
    if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - librdkafka's own codes have this name
        OUTAGES.tell(logger, f"the projection does not follow at the moment, {error.str()}")
