"""The services' door: what they publish on `backbeat.signals.<client>` is checked and goes on to the commands topic.

For each batch of records: produce the commands (or dead letters), wait for every delivery report, commit the offsets. A
crash anywhere repeats the batch; a command's id follows from the record, so a repeat makes nothing twice.

What may never stop a partition is a bad record: it becomes a dead letter. What may is Kafka itself failing: then
`failed` is called, the process ends, and another goes on from the last commit.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from backbeat.schemas import DecodeError
from backbeat.streams import dead_letters, topics
from backbeat.streams.core import ids
from backbeat.streams.door import admit_signal
from backbeat.streams.registry import RegisteredClient
from backbeat.streams.security import connection

logger = logging.getLogger(__name__)

#: A client or its topic that is new is seen after at most this long.
METADATA_REFRESH_MS = 5_000
BATCH_RECORDS_MAX = 2_000

_POLL_SECONDS = 0.2
_FLUSH_SECONDS = 0.5
#: How long a stop waits for the batch in work; after that it is repeated at the next start.
_STOP_SECONDS_MAX = 10.0
#: How long a record of an unknown client waits for the registry to catch up, and how often a topic may cause that.
_CATCH_UP_SECONDS = 5.0
_CATCH_UP_EVERY_SECONDS = 60.0
_CATCH_UP_POLL_SECONDS = 0.02

#: Failures of the record itself: it would fail again.
_PERMANENT = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_MSG_SIZE, KafkaError.INVALID_RECORD}
)
#: The group moved on while we worked: another has the partition and repeats the batch.
_NOT_OURS_ANY_MORE = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001 - librdkafka's own codes have this name
    }
)


class IngestError(Exception):
    """The ingest cannot go on; the text says why."""


class Clients(Protocol):
    """What the ingest asks of the registry."""

    def by_id(self, client_id: bytes) -> RegisteredClient | None:
        """The client with this id."""

    def by_name(self, name: str) -> RegisteredClient | None:
        """The client of this name."""


class Ingest:
    """Follows every signals topic, in a thread of its own, from `start()` to `stop()`."""

    def __init__(
        self,
        bootstrap_servers: str,
        clients: Clients,
        *,
        failed: Callable[[Exception], None],
        application_id: str = "backbeat",
        catch_up_seconds: float = _CATCH_UP_SECONDS,
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._clients = clients
        #: Called once, on the thread, with what it cannot survive.
        self._failed = failed
        self._group = f"{application_id}-ingest"
        self._catch_up_seconds = catch_up_seconds
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._partitions = 0
        #: Kafka's ids of the topics that are followed.
        self._topic_ids: dict[str, str] = {}
        self._waited_at: dict[str, float] = {}
        #: Of the batch in work: what could not be delivered, and why.
        self._undelivered: list[tuple[Message, KafkaError]] = []
        self._lost: KafkaError | None = None  #: why a dead letter could not be delivered
        self.forwarded = 0  #: records that became commands
        self.refused = 0  #: records that became dead letters

    def start(self) -> None:
        """Look at the commands topic, then follow the signals topics in a thread."""
        assert self._thread is None, "an ingest is started once"
        found = topics.check_topics(self._bootstrap_servers, development=True)
        self._partitions = found[topics.COMMANDS].partitions
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch in work, leave the group, end the thread."""
        self._stopping.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    # --- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            consumer = Consumer(
                {
                    **connection(self._bootstrap_servers),
                    "group.id": self._group,
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                    "partition.assignment.strategy": "cooperative-sticky",
                    "topic.metadata.refresh.interval.ms": METADATA_REFRESH_MS,
                    "log.connection.close": False,
                },
                logger=logger,
            )
            try:
                consumer.subscribe(
                    [f"^{re.escape(topics.SIGNALS_PREFIX)}.+"], on_assign=self._assigned, on_revoke=self._assigned
                )
                self._follow(consumer)
            finally:
                consumer.close()
        except _StoppedError:
            logger.warning(
                "the ingest was stopped while Kafka did not answer: its last batch is repeated at the next start"
            )
        except Exception as error:  # whatever it is: whoever started us must hear of it
            logger.exception("the ingest ends")
            self._failed(error)

    def _assigned(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        # A topic that was deleted and made again has another id, and its offsets begin anew.
        self._topic_ids.clear()

    def _follow(self, consumer: Consumer) -> None:
        producer = Producer(
            {
                **connection(self._bootstrap_servers),
                "enable.idempotence": True,
                "acks": "all",
                # A full queue or a broker that is away is back-pressure, never a record given up.
                "message.timeout.ms": 0,
                "message.max.bytes": topics.DEAD_LETTER_BYTES_MAX,
                "linger.ms": 1,
                "compression.type": "lz4",
                "log.connection.close": False,
            },
            logger=logger,
        )
        while not self._stopping.is_set():
            first = consumer.poll(_POLL_SECONDS)
            if first is not None:
                # `consume` alone would wait for its whole time; this takes what is there already.
                batch = [first, *consumer.consume(BATCH_RECORDS_MAX - 1, timeout=0)]
                self._take(consumer, producer, [message for message in batch if _is_record(message)])

    def _take(self, consumer: Consumer, producer: Producer, batch: list[Message]) -> None:
        """One batch: forward, wait for the reports, commit."""
        refused, taken = self.refused, 0
        positions: dict[tuple[str, int], int] = {}
        for message in batch:
            try:
                self._forward(producer, message)
            except DecodeError as error:
                self._put_aside(producer, message, str(error))
            except _StoppedError:
                # What was sent before it is still finished and committed.
                break
            topic, partition_number, offset = _place(message)
            positions[topic, partition_number] = offset + 1
            taken += 1
        self._deliver(producer)
        if positions:
            _commit(consumer, positions)
        self.forwarded += taken - (self.refused - refused)

    def _forward(self, producer: Producer, message: Message) -> None:
        topic, partition_number, offset = _place(message)
        name = topic.removeprefix(topics.SIGNALS_PREFIX)
        signal = admit_signal(
            message.value(),
            dead_letters.headers_of(message),
            name,
            by_name=lambda name: self._known(topic, lambda: self._clients.by_name(name)),
            by_id=lambda identity: self._known(topic, lambda: self._clients.by_id(identity)),
            place=lambda: (self._topic_id(topic), partition_number, offset),
        )
        produce = partial(
            producer.produce,
            topics.COMMANDS,
            key=signal.key,
            value=signal.value,
            partition=ids.partition_of(signal.route, self._partitions),
            on_delivery=partial(self._reported, message),
        )
        self._queue(producer, produce)

    def _known(self, topic: str, find: Callable[[], RegisteredClient | None]) -> RegisteredClient | None:
        """A client; one that is unknown may have been added a moment ago, so a topic may wait for it now and then."""
        found = find()
        now = time.monotonic()
        if found is not None or now - self._waited_at.get(topic, -_CATCH_UP_EVERY_SECONDS) < _CATCH_UP_EVERY_SECONDS:
            return found
        while found is None and time.monotonic() - now < self._catch_up_seconds:
            if self._stopping.wait(_CATCH_UP_POLL_SECONDS):
                raise _StoppedError
            found = find()
        self._waited_at[topic] = time.monotonic()
        return found

    def _topic_id(self, topic: str) -> str:
        if topic not in self._topic_ids:
            self._topic_ids[topic] = topics.topic_id(self._bootstrap_servers, topic)
        return self._topic_ids[topic]

    # --- delivery --------------------------------------------------------------------------------------------------

    def _put_aside(self, producer: Producer, message: Message, reason: str) -> None:
        self.refused += 1
        topic, partition_number, offset = _place(message)
        logger.warning("%s/%d at %d becomes a dead letter: %s", topic, partition_number, offset, reason)
        self._queue(producer, partial(dead_letters.send, producer, message, reason, self._put_aside_reported))

    def _queue(self, producer: Producer, produce: Callable[[], None]) -> None:
        """Hand a record to the producer; wait where its queue is full."""
        while True:
            try:
                produce()
            except BufferError:
                producer.poll(_POLL_SECONDS)
                if self._stopping.is_set():
                    raise _StoppedError from None
            else:
                return

    def _reported(self, source: Message, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._undelivered.append((source, error))

    def _put_aside_reported(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._lost = error

    def _deliver(self, producer: Producer) -> None:
        """Wait until every record of the batch is acknowledged, or is a dead letter that is."""
        self._flush(producer)
        undelivered, self._undelivered = self._undelivered, []
        for source, error in undelivered:
            if error.code() not in _PERMANENT:
                raise IngestError(f"a command could not be written: {error.str()}")
            # The broker refuses whole batches of ours: alone, it is seen whose fault it was.
            self._forward(producer, source)
            self._flush(producer)
            for _, again in self._undelivered:
                self._put_aside(producer, source, f"{topics.COMMANDS} does not take it: {again.str()}")
            self._undelivered.clear()
        if undelivered:
            self._flush(producer)
        if self._lost is not None:
            raise IngestError(f"a dead letter could not be written: {self._lost.str()}")

    def _flush(self, producer: Producer) -> None:
        deadline: float | None = None
        while producer.flush(_FLUSH_SECONDS):
            if self._stopping.is_set():
                deadline = deadline or time.monotonic() + _STOP_SECONDS_MAX
                if time.monotonic() > deadline:
                    raise _StoppedError


class _StoppedError(Exception):
    """A stop came while we waited for Kafka or the registry: what is not committed is repeated at the next start."""


def _is_record(message: Message) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.fatal():
        raise IngestError(f"the consumer failed: {error.str()}")
    # A topic that was deleted, one we may not read, a broker that is away: the others go on.
    logger.warning("%s: %s", message.topic() or "signals", error.str())
    return False


def _place(message: Message) -> tuple[str, int, int]:
    topic, partition_number, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition_number is not None
    assert offset is not None
    return topic, partition_number, offset


def _commit(consumer: Consumer, positions: dict[tuple[str, int], int]) -> None:
    offsets = [TopicPartition(topic, number, offset) for (topic, number), offset in positions.items()]
    try:
        consumer.commit(offsets=offsets, asynchronous=False)
    except KafkaException as error:
        if error.args[0].code() not in _NOT_OURS_ANY_MORE:
            raise
        logger.warning("the batch is repeated elsewhere: %s", error.args[0].str())
