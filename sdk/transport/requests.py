"""Commands and queries, and the answers to them: one producer, and one thread that reads one partition of replies.

A request names that partition, this process (16 random bytes) and a number; the answer carries them back, in parts
where it is large. Other processes may read the same partition: their answers are skipped undecoded.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, Message, Producer

from backbeat.delivery.kafka import close_producer, end_of, logger, make_consumer, make_producer, partition_counts
from backbeat.delivery.pusher import Pusher, push_overdue
from backbeat.delivery.record_batch import RecordBatch
from backbeat.errors import Timeout, Unavailable
from backbeat.schemas.codec import decode_reply, encode_query
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.topics import COMMANDS, QUERIES, REPLIES
from backbeat.schemas.messages.ids import partition_of
from backbeat.schemas.messages.queries import AnyQuery, query_route
from backbeat.schemas.messages.replies import ReplyRecord
from backbeat.schemas.messages.values import ReplyTo
from backbeat.transport.base import checked, written
from backbeat.transport.connecting import Home, connect_in_thread, in_thread
from backbeat.transport.failed_signals import FailedSignals

_POLL_SECONDS = 0.1
_RECORDS_MAX = 500
#: Bytes of replies that are decoded before their requesters hear of them.
_BYTES_AT_ONCE = 16_384
#: Time without an answer after which a query is sent again: the partition may have a new owner, who never saw it.
_ASK_AGAIN_SECONDS = 3.0
_FLUSH_SECONDS_MAX = 10.0
#: Interval of the one timer that expires pending requests: a timer for each would add a twentieth to their cost.
_EXPIRE_SECONDS = 0.05
#: Delay of a query's next send after a broker refused one because of what came before it.
_PRODUCE_AGAIN_SECONDS = 0.1
#: Errors of a broker that has just started, or has lost the state of a producer, on a first record.
_OUT_OF_SEQUENCE = (KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, KafkaError.UNKNOWN_PRODUCER_ID)
#: Time for which it is remembered how far the host's clock is behind: clocks are set.
_CLOCK_SECONDS = 60.0
#: Bytes at the beginning of a reply with the requester's id: the longer of the two headers, and the id's 16 bytes.
_HEAD_BYTES = 26


class _OutOfSequenceError(Unavailable):
    """A broker has refused a record as out of sequence; a retry may succeed."""


class _PendingRequest:
    """A request that has not been answered yet."""

    __slots__ = ("answers", "ends_at", "future", "heard_at")

    def __init__(self, future: asyncio.Future[list[Any]], ends_at: float) -> None:
        self.future = future
        #: deadline on the loop's clock, seconds
        self.ends_at = ends_at
        self.answers: list[Any] = []
        self.heard_at = time.monotonic()


class RequestClient:
    """Sends commands and queries and matches the answers to them. Used from one event loop."""

    def __init__(self, bootstrap_servers: str, send_seconds_max: float) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._send_seconds_max = send_seconds_max
        self._requester_id = b""
        self._number = 0
        self._pending: dict[int, _PendingRequest] = {}
        self._expiry_timer: asyncio.TimerHandle | None = None
        self._stopping: threading.Event
        self._thread: threading.Thread | None = None
        self._failed = FailedSignals("Kafka")
        #: Time by which this host's clock is known to be behind the broker's, and when that was seen (monotonic).
        self._behind_seconds, self._behind_at = 0.0, -math.inf
        self._loop: asyncio.AbstractEventLoop
        self._home: Home
        self._producer: Producer
        #: Commands and queries of the same rounds of the loop, which go to Kafka together.
        self._batch: RecordBatch
        self._pusher: Pusher
        self.partitions = 0
        self._reply_partition = 0

    async def start(self) -> None:
        """Connect; also again after `stop`. Once this returns, no answer can be missed."""
        self._loop, self._home = asyncio.get_running_loop(), Home()
        # Made here, not with the object: a fork may have it in several processes, and each has its own answers.
        self._requester_id = os.urandom(16)
        self._pending.clear()
        self._failed.take()
        self._expiry_timer = None
        self._stopping = threading.Event()
        consumer, self._producer = await connect_in_thread(self._connect, _close)
        self._home.keep(consumer, self._producer)
        self._batch = RecordBatch(self._producer, waits=False)
        self._pusher = Pusher(self._batch, self._loop)
        self._thread = threading.Thread(target=self._read, args=(consumer,), name="backbeat-replies", daemon=True)
        self._thread.start()

    def _connect(self) -> tuple[Consumer, Producer]:
        producer = make_producer(
            self._bootstrap_servers,
            {
                # A record that could not be sent fails before the deadline, and is not sent hours later either.
                "message.timeout.ms": max(1, int(self._send_seconds_max * 900)),
                "delivery.report.only.error": True,
            },
        )
        # Nothing joins this group and nothing is committed: the library wants the name.
        consumer = make_consumer(self._bootstrap_servers, "backbeat-replies", {"fetch.wait.max.ms": 500})
        try:
            self.partitions, queries, replies = partition_counts(
                consumer, self._bootstrap_servers, COMMANDS, QUERIES, REPLIES
            )
            if queries != self.partitions:
                raise Unavailable(  # noqa: TRY301 - the consumer is closed below, whatever went wrong
                    f"{QUERIES} has {queries} partitions, {COMMANDS} {self.partitions}"
                )
            self._reply_partition = random.randrange(replies)  # noqa: S311 - it spreads load and keeps no secret
            # The end is read before any request: every answer lies behind it.
            consumer.assign([end_of(consumer, REPLIES, self._reply_partition, self._bootstrap_servers)])
        except BaseException:
            _close((consumer, producer))
            raise
        return consumer, producer

    async def stop(self) -> None:
        """Send published signals, and disconnect. Pending requests get Unavailable."""
        if self._thread is None:
            return
        self._home.check()
        for request in self._pending.values():
            if not request.future.done():
                request.future.set_exception(Unavailable("the client was closed"))
        self._pending.clear()
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
            self._expiry_timer = None
        self._batch.push()
        unsent_count = await in_thread(lambda: self._producer.flush(_FLUSH_SECONDS_MAX))
        if (failure := self._failed.take()) is not None:
            logger.error("%s", failure)
        if unsent_count:
            logger.error("Kafka has not acknowledged %d records that were sent", unsent_count)
        self._stopping.set()
        await in_thread(self._thread.join)
        self._thread = None

    # --- sending ---------------------------------------------------------------------------------------------------

    async def command(
        self, encode: Callable[[ReplyTo], bytes], route: bytes, key: bytes, timeout: float, operation: str
    ) -> Any:
        """Send a command (`encode` takes its return address) and await its one answer."""
        future = self._expect(timeout)
        number = self._number
        try:
            self._produce(COMMANDS, encode(self._reply_to(number)), route, key, number)
            if self._expiry_timer is None:
                self._expiry_timer = self._loop.call_later(_EXPIRE_SECONDS, self._expire)
            answers = await future
        except TimeoutError as error:
            raise Timeout(
                f"{operation}: no answer within {timeout:g} s. It may still be applied; "
                "to ask again without doing it twice, use the same idempotency key"
            ) from error
        finally:
            self._pending.pop(number, None)
        return checked(answers)[0]

    def now(self) -> float:
        """Seconds since the epoch, by the host's clock or, where that is known to be behind, by the broker's.

        Engines go by the broker's: a deadline of a clock behind it would be over before the query comes.
        """
        return time.time() + self._behind_seconds

    async def query(self, make: Callable[[ReplyTo, int], AnyQuery], timeout: float, operation: str) -> list[Any]:
        """Send a query (`make` takes a return address and a deadline) and await all parts of its answer.

        It is sent again while no part comes, until the timeout.
        """
        ends_at = time.monotonic() + timeout
        while True:
            future = self._expect(math.inf)
            number = self._number
            request = self._pending[number]
            query = make(self._reply_to(number), int((self.now() + ends_at - time.monotonic()) * 1000))
            route = query_route(query)
            try:
                self._produce(QUERIES, written(encode_query, query), route, route, number)
                while (wait_seconds := min(ends_at, request.heard_at + _ASK_AGAIN_SECONDS) - time.monotonic()) > 0:
                    done, _ = await asyncio.wait((future,), timeout=wait_seconds)
                    if done:
                        return checked(future.result())
            except _OutOfSequenceError:
                if time.monotonic() >= ends_at:
                    raise
                await asyncio.sleep(_PRODUCE_AGAIN_SECONDS)
            finally:
                self._pending.pop(number, None)
            if time.monotonic() >= ends_at:
                raise Timeout(f"{operation}: no answer within {timeout:g} s. Is an engine running?")

    def publish(self, value: bytes, route: bytes, key: bytes) -> None:
        """Send a command without a return address. BufferError: too many are under way."""
        self._check()
        # A command that was sent before goes before.
        self._batch.push()
        self._producer.produce(
            COMMANDS,
            value,
            key,
            partition=partition_of(route, self.partitions),
            on_delivery=self._failed_publish,
        )

    def under_way(self) -> int:
        """Number of records that Kafka has not acknowledged."""
        self._check()
        return len(self._producer) + len(self._batch)

    async def flush(self, timeout: float) -> None:
        """Wait until Kafka has acknowledged all published signals. Unavailable: it refused some. Timeout."""
        self._check()
        self._batch.push()
        unsent_count = await in_thread(lambda: self._producer.flush(timeout))
        if (failure := self._failed.take()) is not None:
            raise failure
        if unsent_count:
            raise Timeout(f"Kafka has not acknowledged {unsent_count} records within {timeout:g} s")

    def _failed_publish(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failed.note(error.str())

    def _expire(self) -> None:
        """Fail the requests past their deadline; check again while any is pending."""
        now = self._loop.time()
        for request in self._pending.values():
            if request.ends_at <= now and not request.future.done():
                request.future.set_exception(TimeoutError())
        self._expiry_timer = self._loop.call_later(_EXPIRE_SECONDS, self._expire) if self._pending else None

    def _expect(self, timeout: float) -> asyncio.Future[list[Any]]:
        self._check()
        self._number += 1
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        self._pending[self._number] = _PendingRequest(future, self._loop.time() + timeout)
        return future

    def _check(self) -> None:
        if self._thread is None:
            raise Unavailable("the client is not connected: use `async with Client(…) as client`")
        self._home.check()

    def _reply_to(self, number: int) -> ReplyTo:
        return ReplyTo(self._reply_partition, self._requester_id, number)

    def _produce(self, topic: str, value: bytes, route: bytes, key: bytes, number: int) -> None:
        report = partial(self._report, number)
        if self._batch.add(topic, partition_of(route, self.partitions), value, key, report):
            self._pusher.begin()

    def _report(self, number: int, error: KafkaError | None, _: Message | None) -> None:
        if error is not None:
            self._loop.call_soon_threadsafe(self._fail, number, error)

    # --- answers ---------------------------------------------------------------------------------------------------

    def _read(self, consumer: Consumer) -> None:
        while not self._stopping.is_set():
            try:
                message = consumer.poll(_POLL_SECONDS)
                # Reports of failed sends: seldom any, and soon enough here.
                self._producer.poll(0)
                push_overdue(self._batch)
                if message is None:
                    continue
                messages = [message, *consumer.consume(_RECORDS_MAX, 0)]
                self._take_all(messages)
            except KafkaException as error:
                logger.warning("reading replies: %s", error.args[0].str())
                self._stopping.wait(_POLL_SECONDS)
        _close((consumer, self._producer))

    def _note_time(self, message: Message) -> None:
        """Learn from the broker's time of a record, which has come since, how far this host's clock is behind."""
        kind, at = message.timestamp()
        if kind != TIMESTAMP_LOG_APPEND_TIME:
            return  # An error of the library's, which has no time.
        seconds, now = at / 1000 - time.time(), time.monotonic()
        if seconds > self._behind_seconds or now - self._behind_at > _CLOCK_SECONDS:
            # A record that has come late says that the clock is ahead, which nothing follows from.
            self._behind_seconds, self._behind_at = max(0.0, seconds), now

    def _take_all(self, messages: list[Message]) -> None:
        """Decode replies and hand them to the loop."""
        self._note_time(messages[-1])
        replies: list[ReplyRecord] = []
        size = 0
        for message in messages:
            reply = self._take(message)
            if reply is not None:
                replies.append(reply)
                size += len(message.value() or b"")
            if size > _BYTES_AT_ONCE:
                # Whoever waits for a small answer does not wait until a large one behind it is decoded.
                self._hand_on(replies)
                replies, size = [], 0
        if replies:
            self._hand_on(replies)

    def _hand_on(self, replies: list[ReplyRecord]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._match, replies)
        except RuntimeError:
            logger.info("replies are read no more: the loop was closed, and the client was not")
            self._stopping.set()

    def _take(self, message: Message) -> ReplyRecord | None:
        error, value = message.error(), message.value()
        if error is not None:
            logger.warning("reading replies: %s", error.str())
            return None
        if value is None or self._requester_id not in value[:_HEAD_BYTES]:
            return None
        try:
            return decode_reply(value)
        except (DecodeError, RecursionError) as reason:
            logger.error("%s/%s at %s: %s", REPLIES, self._reply_partition, message.offset(), reason)
            return None

    def _match(self, replies: list[ReplyRecord]) -> None:
        for reply in replies:
            request = self._pending.get(reply.number)
            # A restarted engine answers again: a part that is here already is dropped.
            if request is None or request.future.done() or reply.part != len(request.answers):
                continue
            request.answers.append(reply.answer)
            request.heard_at = time.monotonic()
            if reply.last:
                request.future.set_result(request.answers)

    def _fail(self, number: int, error: KafkaError) -> None:
        request = self._pending.get(number)
        if request is not None and not request.future.done():
            kind = _OutOfSequenceError if error.code() in _OUT_OF_SEQUENCE else Unavailable
            text = f"Kafka did not take it: {error.str()}"
            if error.code() == KafkaError._MSG_TIMED_OUT:  # noqa: SLF001 - librdkafka's own errors have an underscore
                text = (
                    "Kafka did not acknowledge it in time: it was reached before, and is away or overloaded now. It "
                    "may still be applied; to ask again without doing it twice, use the same idempotency key"
                )
            elif error.code() == KafkaError._QUEUE_FULL:  # noqa: SLF001 - as above
                text = "too many records wait for Kafka"
            request.future.set_exception(kind(text))


def _close(connection: tuple[Consumer, Producer]) -> None:
    consumer, producer = connection
    consumer.close()
    close_producer(producer)
