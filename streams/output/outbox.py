"""Outbox: sends activities, replies, history, commands for other partitions and dead letters, one by one or in batches.

Records of one partition stay in order and none is skipped (idempotent producer, no limit on retries). A commit waits
until every one of them is acknowledged; undeliverable records are handed back. Sending never waits: it happens on the
event loop. Where a producer's queue is full records wait here, and whoever makes them is to make no more meanwhile.

History is not urgent: it goes by a connection of its own, a tenth of a second later and in batches. On the same
connection a broker would write it before the activity or the reply behind it, one request after the other.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from backbeat.schemas.kafka.broker_log import BrokerLog
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import HISTORY
from backbeat.streams.ports.host_clock import HostClock

logger = logging.getLogger(__name__)

#: Errors that no retry can mend. Any other ends the process before the commit.
_PERMANENT = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - librdkafka's own errors have an underscore
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.MSG_SIZE_TOO_LARGE,
    }
)
#: Time for which history is gathered into a batch.
_HISTORY_LINGER_MS = 100


class OutboxError(Exception):
    """A record could not be sent, though a retry may succeed: the process must end without a commit."""


class Undelivered(NamedTuple):
    """A record that can never be delivered."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes
    reason: str


class EffectsProducer(Protocol):
    """Port of the outbox: an idempotent producer, as librdkafka has it."""

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        report: Callable[[KafkaError | None, Message], None],
        /,
        *,
        headers: list[tuple[str, str | bytes | None]] | None = None,
    ) -> None:
        """Queue a record. BufferError: the queue is full."""

    def produce_batch(
        self,
        topic: str,
        messages: list[dict[str, Any]],
        partition: int,
        report: Callable[[KafkaError | None, Message], None],
        /,
    ) -> int:
        """Queue records (`value`, `key`) of one partition; returns their count. Those refused have an `_error`.

        Where the queue is full all further ones are refused.
        """

    def poll(self, timeout: float, /) -> int:
        """Serve delivery reports."""

    def flush(self, timeout: float, /) -> int:
        """Wait until the queue is empty; returns the count of records that are left."""

    def __len__(self) -> int: ...


_Waiting = tuple[EffectsProducer, str, bytes | None, bytes | None, int, Sequence[tuple[str, bytes | None]] | None]


class Outbox:
    """Producers of all effects, and the records that they could not deliver."""

    def __init__(
        self,
        bootstrap_servers: str,
        client_id: str,
        *,
        make_producer: Callable[[dict[str, Any]], EffectsProducer] = Producer,
        host_clock: HostClock = time,
    ) -> None:
        settings: dict[str, Any] = {
            **connection(bootstrap_servers),
            "client.id": client_id,
            "enable.idempotence": True,
            "message.timeout.ms": 0,
            "topic.metadata.propagation.max.ms": 5_000,
            "linger.ms": 0,
            # Records that come while a request is under way leave together with the next.
            "max.in.flight.requests.per.connection": 1,
            "socket.nagle.disable": True,
            "queue.buffering.max.messages": 500_000,
            "queue.buffering.max.kbytes": 256 * 1024,
            "message.max.bytes": 4 * 1024 * 1024,
            # A report for each record costs as much as sending it; flush needs those of failures only.
            "delivery.report.only.error": True,
            "logger": BrokerLog(logger),
        }
        self._monotonic = host_clock.monotonic
        self._at_once = make_producer(settings)
        self._history = make_producer({**settings, "linger.ms": _HISTORY_LINGER_MS})
        #: records for which a queue has no room, oldest first
        self._waiting: deque[_Waiting] = deque()
        self._waiting_lock = threading.Lock()
        self._lock = threading.Lock()
        self._undelivered: list[Undelivered] = []
        #: counts of undelivered records that `poll` has handed out, and that were replaced (`settle`)
        self.handed_out = self.settled = 0
        self._failure: str | None = None

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = -1,
        headers: Sequence[tuple[str, bytes | None]] | None = None,
    ) -> None:
        """Send one record; never waits. `partition` -1: by the key."""
        producer = self._history if topic == HISTORY else self._at_once
        try:
            if not self._waiting:
                self._produce(producer, topic, value, key, partition, headers)
                return
        except BufferError:
            pass  # The records behind it wait as well, so that all stay in order.
        with self._waiting_lock:
            self._waiting.append((producer, topic, value, key, partition, headers))

    def send_batch(self, topic: str, partition: int, messages: list[dict[str, Any]]) -> None:
        """Send records of one partition (-1: by their keys), in order: `value` and `key` of each. Never waits."""
        producer = self._history if topic == HISTORY else self._at_once
        if not self._waiting:
            # The library ignores a partition of the messages' own.
            if producer.produce_batch(topic, messages, partition, self._reported) == len(messages):
                return
            refused = [message for message in messages if "_error" in message]
            messages = [message for message in refused if message["_error"].code() == KafkaError._QUEUE_FULL]  # noqa: SLF001
            for message in refused:
                if message["_error"].code() != KafkaError._QUEUE_FULL:  # noqa: SLF001
                    self._failed(message["_error"], topic, partition, message["key"], message["value"])
        with self._waiting_lock:
            self._waiting += [
                (producer, topic, message["value"], message["key"], partition, None) for message in messages
            ]

    def _produce(  # noqa: PLR0917 - as the library's
        self,
        producer: EffectsProducer,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        headers: Sequence[tuple[str, bytes | None]] | None,
    ) -> None:
        try:
            if headers:
                producer.produce(topic, value, key, partition, self._reported, headers=list(headers))
            else:
                producer.produce(topic, value, key, partition, self._reported)
        except KafkaException as error:
            self._failed(error.args[0], topic, partition, key, value)

    def _go_on(self) -> None:
        """Put records that wait into the producers' queues, as far as there is room."""
        with self._waiting_lock, contextlib.suppress(BufferError):
            while self._waiting:
                self._produce(*self._waiting[0])
                self._waiting.popleft()

    def _reported(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed(error, message.topic() or "", message.partition(), message.key(), message.value())

    def _failed(
        self, error: KafkaError, topic: str, partition: int | None, key: bytes | None, value: bytes | None
    ) -> None:
        with self._lock:
            if error.code() in _PERMANENT:
                self._undelivered.append(Undelivered(topic, partition, key, value or b"", error.str()))
            else:
                self._failure = f"{topic}: {error.str()}"

    @property
    def under_way(self) -> int:
        """Records sent and not acknowledged."""
        return len(self._at_once) + len(self._history) + len(self._waiting)

    @property
    def is_congested(self) -> bool:
        """True while a producer's queue is full, and records wait for room in it."""
        return bool(self._waiting)

    def poll(self) -> list[Undelivered]:
        """Poll for reports, without waiting. Returns the undeliverable records since the last call."""
        self._at_once.poll(0)
        self._history.poll(0)
        if self._waiting:
            self._go_on()
        if not self._undelivered:
            return []
        with self._lock:
            undelivered, self._undelivered = self._undelivered, []
            self.handed_out += len(undelivered)
        return undelivered

    def settle(self, count: int) -> None:
        """Note that the commands in place of `count` undelivered records were sent."""
        with self._lock:
            self.settled += count

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until all sent records are acknowledged or undeliverable. False: not all are, yet. OutboxError."""
        self._go_on()
        ends_at = self._monotonic() + timeout_seconds
        unsent_count = self._at_once.flush(timeout_seconds) + self._history.flush(max(0.0, ends_at - self._monotonic()))
        if self._failure is not None:
            raise OutboxError(self._failure)
        return not (unsent_count or self._waiting)
