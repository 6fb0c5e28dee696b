"""A topic of one partition that is read whole and followed, and its writer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from backbeat.delivery.kafka import make_consumer, make_producer
from backbeat.errors import Unavailable
from backbeat.schemas.kafka.ends import read_ends

logger = logging.getLogger(__name__)

_ASK_SECONDS = 5.0
_POLL_SECONDS = 0.1
_AGAIN_SECONDS = 1.0
WRITE_SECONDS_MAX = 10.0


class TopicFollower:
    """Follows partition 0 of a topic in a thread of its own, and gives each record to `take`."""

    def __init__(
        self, bootstrap_servers: str, topic: str, take: Callable[[Message], None], *, newest: int | None = None
    ) -> None:
        """`newest`: begin with so many of the newest records; None: with the first one."""
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic
        self._take = take
        self._newest = newest
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._position: int | None = None
        self._end = 0
        self._requests = self._looks = self._failures = 0
        self._thread = threading.Thread(target=self._run, name=f"follower of {topic}", daemon=True)
        #: Reason why it does not follow at the moment; empty: it does.
        self.problem = f"{topic} is being read"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_started(self) -> bool:
        """True once it was started."""
        return self._thread.ident is not None

    def start(self) -> None:
        """Start, unless it was started; nothing need be reachable yet."""
        if not self.is_started:
            self._thread.start()

    def stop(self) -> None:
        """Stop; what was read stays readable."""
        self._stopping.set()
        if self.is_started:
            self._thread.join()

    def catch_up(self, seconds: float) -> bool:
        """Read up to the topic's present end, within `seconds`; False: it cannot. Blocks."""
        with self._changed:
            self._requests += 1
            request, failures = self._requests, self._failures

            def is_settled() -> bool:
                return self._failures > failures or (self._looks >= request and self._is_at_end())

            return self._changed.wait_for(is_settled, seconds) and self._failures == failures

    def _is_at_end(self) -> bool:
        return self._position is not None and self._position >= self._end

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except (KafkaException, Unavailable) as error:
                reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
                if reason != self.problem:
                    logger.warning("%s is not followed at the moment: %s", self._topic, reason)
                self._fail(reason)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                if reason != self.problem:
                    logger.exception("%s is not followed at the moment", self._topic)
                self._fail(reason)

    def _fail(self, reason: str) -> None:
        """Tell who waits, and pause before the next try."""
        with self._changed:
            self.problem = reason
            self._failures += 1
            self._changed.notify_all()
        self._stopping.wait(_AGAIN_SECONDS)

    def _follow(self) -> None:
        consumer = make_consumer(self._bootstrap_servers, "backbeat-console", {"fetch.wait.max.ms": 500})
        try:
            self._assign(consumer)
            while not self._stopping.is_set():
                self._look(consumer)
                message = consumer.poll(_POLL_SECONDS)
                if message is not None:
                    self._read(message)
        finally:
            consumer.close()

    def _assign(self, consumer: Consumer) -> None:
        error = consumer.list_topics(self._topic, _ASK_SECONDS).topics[self._topic].error
        if error is not None and error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise Unavailable(f"There is no topic {self._topic}. What to do: run `backbeat topics create`.")
        low, high = read_ends(consumer, self._topic, 0, _ASK_SECONDS)
        if self._position is None or not low <= self._position <= high:
            self._position = low if self._newest is None else max(low, high - self._newest)
        self._end = high
        consumer.assign([TopicPartition(self._topic, 0, self._position or OFFSET_BEGINNING)])
        self.problem = ""

    def _look(self, consumer: Consumer) -> None:
        """Ask for the topic's end where somebody waits for that."""
        request = self._requests
        if request > self._looks:
            _, end = read_ends(consumer, self._topic, 0, _ASK_SECONDS)
            with self._changed:
                # Where compaction has left no record at the end, the consumer's position is behind it all the same.
                at = consumer.position([TopicPartition(self._topic, 0)])[0].offset
                self._position = max(self._position or 0, at)
                self._looks, self._end = request, end
                self._changed.notify_all()

    def _read(self, message: Message) -> None:
        if message.error() is not None:
            return
        try:
            self._take(message)
        except Exception:
            # Read again, it would fail again: no record keeps those behind it from being read.
            logger.exception("%s at %d is passed over", self._topic, message.offset() or 0)
        with self._changed:
            self._position = (message.offset() or 0) + 1
            self._changed.notify_all()


class TopicWriter:
    """Writer of a topic: a record is on all brokers that must have it, or Unavailable says why not. Blocks."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic
        self._producer: Producer | None = None
        self._lock = threading.Lock()

    def write(self, key: bytes, value: bytes | None) -> None:
        """Write a record; None deletes what the key has."""
        errors: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                errors.append(error)

        with self._lock:
            if self._producer is None:
                timeout_ms = int(WRITE_SECONDS_MAX * 900)
                self._producer = make_producer(self._bootstrap_servers, {"message.timeout.ms": timeout_ms})
            self._producer.produce(self._topic, key=key, value=value, partition=0, on_delivery=delivered)
            remaining = self._producer.flush(WRITE_SECONDS_MAX)
        if errors or remaining:
            reason = errors[0].str() if errors else f"not acknowledged within {WRITE_SECONDS_MAX:.0f} s"
            raise Unavailable(f"{self._topic} could not be written: {reason}")
