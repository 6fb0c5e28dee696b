"""librdkafka's producer as far as outbox and transaction use it: both classes of the engine run on it unchanged."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from backbeat.schemas.kafka.topics import ACTIVITIES_PREFIX

from .broker import Entry, FencedError

if TYPE_CHECKING:
    from .host import Host

Report = Callable[[KafkaError | None, "SentMessage"], None]


class SentMessage(NamedTuple):
    """What a delivery report is about."""

    name: str
    number: int
    content: tuple[bytes | None, bytes | None]
    entry: Entry | None

    def topic(self) -> str:
        return self.name

    def partition(self) -> int:
        return self.number

    def key(self) -> bytes | None:
        return self.content[0]

    def value(self) -> bytes | None:
        return self.content[1]

    def offset(self) -> int | None:
        return self.entry.offset if self.entry else None

    def timestamp(self) -> tuple[int, int]:
        return 2, self.entry.timestamp if self.entry else -1


class _Waiting(NamedTuple):
    """A record in the producer's queue."""

    key: bytes | None
    value: bytes | None
    headers: Any
    report: Report | None


class SimProducer:
    """One producer of one process. Records of one partition are written in order, later than they are sent."""

    def __init__(self, host: Host, config: dict[str, Any]) -> None:
        self._host = host
        self._owner: str | None = config.get("transactional.id")
        self._epoch = -1
        self._queues: dict[tuple[str, int], deque[_Waiting]] = {}
        self._reports: deque[tuple[Report, KafkaError | None, SentMessage]] = deque()
        self._broken = False
        self._records_max: int = config.get("queue.buffering.max.messages", 100_000)
        if self._owner is None:
            host.outboxes.append(self)

    # --- what both use ---------------------------------------------------------------------------------------------

    def produce(  # noqa: PLR0917 - the library's own order
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        partition: int = -1,
        on_delivery: Report | None = None,
        headers: Any = None,
    ) -> None:
        if not self._room(1):
            raise BufferError
        self._queue(topic, partition, _Waiting(key, value, headers, on_delivery))

    def produce_batch(
        self, topic: str, messages: list[dict[str, Any]], partition: int = -1, on_delivery: Report | None = None
    ) -> int:
        room = self._room(len(messages))
        for message in messages[:room]:
            self._queue(topic, partition, _Waiting(message["key"], message["value"], None, on_delivery))
        for message in messages[room:]:
            message["_error"] = KafkaError(KafkaError._QUEUE_FULL, "Local: Queue full")
        return room

    def _room(self, count: int) -> int:
        """For how many of some records there is room."""
        if self._owner is None and self._host.world.faults.happens("queue full"):
            return int(self._host.world.chance.randrange(count))
        return min(count, self._records_max - len(self))

    def _queue(self, topic: str, partition: int, record: _Waiting) -> None:
        if self._owner is None:
            self._host.may_die("effect")
        number = max(partition, 0)  # Topics that are not addressed by partition have one.
        self._queues.setdefault((topic, number), deque()).append(record)

    def poll(self, _seconds: float = 0.0) -> int:
        """Serve delivery reports."""
        count = len(self._reports)
        while self._reports:
            report, error, message = self._reports.popleft()
            report(error, message)
        return count

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def flush(self, seconds: float) -> int:
        """Wait until the queue is empty."""
        if self._owner is not None:
            return self._flush_transaction()
        deadline = self._host.world.virtual.monotonic() + seconds
        self._host.point("before flush")
        while len(self) and self._host.world.virtual.monotonic() < deadline:
            if not self._host.point("flush"):
                self.transmit(1)
        self.poll()
        self._host.point("after flush")
        return len(self)

    # --- outside transactions ----------------------------------------------------------------------------------------

    def transmit(self, count: int) -> bool:
        """The network's turn: write some of what waits. False: nothing waits."""
        waiting = [where for where, queue in self._queues.items() if queue]
        if not waiting or self._owner is not None:
            return False
        topic, number = self._host.world.chance.choice(waiting)
        queue = self._queues[topic, number]
        for _ in range(min(count, len(queue))):
            record = queue.popleft()
            self._host.world.checks.left(self._host, topic, number, record.value)
            self._broken = self._broken or self._host.world.faults.happens("send fails")
            error = self._error(topic)
            if error is None:
                self._host.world.broker.append(topic, number, record.key, record.value, record.headers)
            elif record.report is not None:
                message = SentMessage(topic, number, (record.key, record.value), None)
                self._reports.append((record.report, error, message))
        return True

    def _error(self, topic: str) -> KafkaError | None:
        if self._broken:
            # An idempotent producer writes nothing behind a record that it could not write.
            return KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "it broke")
        if topic.startswith(ACTIVITIES_PREFIX) and topic in self._host.world.topics_missing:
            return KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "no such topic")
        return None

    # --- transactions -----------------------------------------------------------------------------------------------

    def list_topics(self, _topic: str, _seconds: float) -> None:
        """The brokers are connected to."""

    def init_transactions(self, _seconds: float) -> None:
        assert self._owner is not None
        self._epoch = self._host.world.broker.init(self._owner)

    def unsent(self, topic: str) -> list[bytes | None]:
        """What waits to be written to a topic."""
        return [record.value for (name, _), queue in self._queues.items() if name == topic for record in queue]

    def begin_transaction(self) -> None:
        self._host.world.checks.transacts(self._host)
        self._host.point("before transaction")

    def _deliver(self, count: int) -> None:
        """Write some of the transaction's records."""
        broker = self._host.world.broker
        assert self._owner is not None
        for (topic, number), queue in self._queues.items():
            while queue and count > 0:
                count -= 1
                record = queue.popleft()
                assert record.key is not None
                transaction = broker.transaction(self._owner, self._epoch)
                entry = broker.append_in(transaction, self._epoch, number, record.key, record.value)
                if record.report is not None:
                    message = SentMessage(topic, number, (record.key, record.value), entry)
                    self._reports.append((record.report, None, message))

    def _flush_transaction(self) -> int:
        """Write what is left of the transaction's records; fenced, only their reports say that nothing came of it."""
        world = self._host.world
        try:
            while len(self):
                self._host.point("records")
                self._deliver(world.chance.randrange(1, len(self) + 1))
        except FencedError as error:
            self._fail_all(KafkaError(KafkaError._FENCED, str(error), True, False, False))
        self.poll()
        return len(self)

    def _fail_all(self, error: KafkaError) -> None:
        for (topic, number), queue in self._queues.items():
            while queue:
                record = queue.popleft()
                if record.report is not None:
                    message = SentMessage(topic, number, (record.key, record.value), None)
                    self._reports.append((record.report, error, message))

    def send_offsets_to_transaction(self, positions: list[Any], metadata: bytes, _seconds: float) -> None:
        world = self._host.world
        self._host.point("before offsets")
        try:
            if world.chance.random() < 0.5:  # They travel beside the records, not behind them.
                self._deliver(world.chance.randrange(len(self) + 1))
                self._host.point("before offsets")
            self._fail_at_times()
            refused = world.group.why_refused(*_member(metadata))
            if refused is not None:
                error = KafkaError(KafkaError.ILLEGAL_GENERATION, refused, False, False, True)
                raise KafkaException(error)
            assert self._owner is not None
            transaction = world.broker.transaction(self._owner, self._epoch)
            transaction.offsets.update({(place.topic, place.partition): place.offset for place in positions})
            self._fail_at_times()
        except FencedError as error:
            raise _fenced(error) from error
        self._host.point("after offsets")

    def commit_transaction(self, _seconds: float) -> None:
        world = self._host.world
        assert self._owner is not None
        try:
            self._flush_transaction()
            self._host.point("before end")
            self._fail_at_times()
            world.broker.end(self._owner, self._epoch)
            self._host.point("after end")
            self._fail_at_times()
        except FencedError as error:
            raise _fenced(error) from error

    def _fail_at_times(self) -> None:
        """The request timed out: it was done or not, depending on where this is called."""
        if self._host.world.faults.happens("request times out"):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "timed out", False, True, False))


def _fenced(error: FencedError) -> KafkaException:
    return KafkaException(KafkaError(KafkaError._FENCED, str(error), True, False, False))


def _member(metadata: bytes) -> tuple[int, str, str]:
    """Generation, member and instance id from librdkafka's serialised group metadata."""
    assert metadata.startswith(b"CGMDv2:")
    (generation,) = struct.unpack_from("<i", metadata, 7)
    _, member_id, _, instance_id, _ = metadata[11:].split(b"\0")
    return generation, member_id.decode(), instance_id.decode()
