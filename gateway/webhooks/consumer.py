"""Consumer of the activities of clients served by webhook; commits offsets, reports failures.

A thread owns the consumer, the offsets and the table of webhooks in progress; the event loop posts. Webhooks pass to
the loop in lists, settled ones come back in a deque. An offset is committed once every record before it is delivered,
or Kafka has acknowledged the command that reports its failure. Records that are done beyond it go with the commit
(`Handover`), so that the next owner of the partition continues where this gateway stopped; if a webhook may have been
posted already, the engine is asked first.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from backbeat.delivery.kafka import make_consumer
from backbeat.delivery.offsets import Offsets
from backbeat.delivery.positions import Place, Positions
from backbeat.errors import Unavailable
from backbeat.gateway.webhooks.handover import HandedOver, Handover
from backbeat.gateway.webhooks.producer import WebhookProducer
from backbeat.gateway.webhooks.topics import Subscription, TopicBuffer
from backbeat.gateway.webhooks.webhook import Key, Webhook, key_of
from backbeat.schemas.codec import decode_activity
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.client_registry import ClientRegistry
from backbeat.schemas.kafka.membership import leave

GROUP = "backbeat-webhooks"

_POLL_SECONDS = 0.1
_BUSY_POLL_SECONDS = 0.01
_COMMIT_SECONDS = 0.5
_RECORDS_MAX = 500
_RECONNECT_SECONDS = 1.0
#: Time that requests of a revoked partition get before its new owner begins.
_REVOKE_SECONDS_MAX = 5.0
#: Interval at which a stopping gateway looks for topics to give up.
_NARROW_SECONDS = 0.5
_LEAVE_SECONDS_MAX = 15.0
#: Webhooks remembered to recognize repeats: an engine that was restarted sends some twice.
_RECENT_MAX = 20_000
_SESSION_TIMEOUT_MS = 10_000
logger = logging.getLogger(__name__)


class WebhookConsumer:
    """Consumer thread: hands activities to the loop, takes settled ones and commits."""

    def __init__(
        self,
        bootstrap_servers: str,
        registry: ClientRegistry,
        *,
        accept: Callable[[list[Webhook]], None],
        fail: Callable[[BaseException], None],
        request_seconds_max: float,
    ) -> None:
        """`request_seconds_max`: longest duration of a request that any gateway has begun."""
        self._request_seconds_max = request_seconds_max
        self._bootstrap_servers = bootstrap_servers
        self._accept = accept
        self._fail = fail
        self._subscription = Subscription(registry)
        self._loop: asyncio.AbstractEventLoop
        self._consumer: Consumer
        self._producer: WebhookProducer
        self._thread: threading.Thread | None = None
        self._draining = threading.Event()
        self._ending = threading.Event()
        self._committed_at = 0.0
        self._narrowed_at = 0.0
        self._positions = Positions(self._handover)
        #: Handovers of the previous owners of assigned partitions.
        self._handed_over: dict[Offsets, HandedOver] = {}
        #: Subscribed topics.
        self._subscribed_topics: list[str] = []
        self._buffers: dict[str, TopicBuffer] = {}
        self._webhooks: dict[Key, Webhook] = {}
        self._recent: dict[Key, None] = {}
        self._settled: deque[Webhook] = deque()
        #: Topics whose error was logged already.
        self._topics_with_errors: set[str] = set()
        self.connected = False
        self.failed = 0

    # --- the loop's side -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect and consume, in a thread. Waits for a Kafka that is not reachable yet."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="backbeat-webhooks", daemon=True)
        self._thread.start()

    def settle(self, webhook: Webhook) -> None:
        """Take back a webhook that is delivered, has failed, or is left to another gateway."""
        self._settled.append(webhook)

    def drain(self) -> None:
        """Consume nothing more."""
        self._draining.set()

    async def stop(self) -> None:
        """Commit and leave the group."""
        self._draining.set()
        self._ending.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _LEAVE_SECONDS_MAX)
            if self._thread.is_alive():
                logger.error("Kafka does not answer: the webhooks' group was not left in order")

    # --- the thread's side -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            if self._connect():
                try:
                    while not self._ending.is_set():
                        self._poll_once()
                finally:
                    self._leave()
        except RuntimeError as error:
            if not self._loop.is_closed():
                self._report_fatal(error)
        except BaseException as error:  # noqa: BLE001 - reported to the owner of the consumer
            self._report_fatal(error)

    def _report_fatal(self, error: BaseException) -> None:
        logger.error("webhooks are not delivered any more: %s", error)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._fail, error)

    def _connect(self) -> bool:
        """Connect; False if it was stopped before."""
        self._producer = WebhookProducer(self._bootstrap_servers)
        logged = False
        while not self._ending.is_set():
            try:
                self._producer.connect()
            except Unavailable as error:
                if not logged:
                    logger.warning("webhooks wait for Kafka: %s", error)
                logged = True
                self._ending.wait(_RECONNECT_SECONDS)
            else:
                break
        else:
            return False
        self._consumer = make_consumer(
            self._bootstrap_servers,
            GROUP,
            {
                "session.timeout.ms": _SESSION_TIMEOUT_MS,
                # A member learns of a rebalance by a heartbeat: the others wait for this interval.
                "heartbeat.interval.ms": 500,
                # A client that is added, or a gateway that joins, stops only the partitions that move.
                "partition.assignment.strategy": "cooperative-sticky",
                # Interval at which a topic that was unknown when subscribed to is looked for.
                "topic.metadata.refresh.interval.ms": 5_000,
                # A topic just created is unknown to its broker for a moment; nothing is fetched meanwhile.
                "fetch.error.backoff.ms": 50,
                "on_commit": self._positions.on_commit,
            },
        )
        self.connected = True
        return True

    def _poll_once(self) -> None:
        self._settle()
        now = time.monotonic()
        if now - self._committed_at >= _COMMIT_SECONDS:
            self._committed_at = now
            self._positions.commit(self._consumer, wait=False)
        topics = self._topics_in_flight(now) if self._draining.is_set() else self._subscription.changed(now)
        if topics is not None:
            self._subscribe(topics)
        for buffer in self._buffers.values():
            self._pause_or_resume(buffer)
        if not self._subscribed_topics:
            self._ending.wait(_POLL_SECONDS)
            return
        busy = self._draining.is_set() or any(buffer.paused for buffer in self._buffers.values())
        message = self._consumer.poll(_BUSY_POLL_SECONDS if busy else _POLL_SECONDS)
        if message is not None:
            self._add_messages([message, *self._consumer.consume(_RECORDS_MAX - 1, 0)])

    def _topics_in_flight(self, now: float) -> list[str] | None:
        """Topics with requests in flight, if they differ from the subscription; the rest goes to other gateways."""
        if now - self._narrowed_at < _NARROW_SECONDS:
            return None
        self._narrowed_at = now
        topics = sorted({webhook.topic for webhook in list(self._webhooks.values()) if webhook.in_flight})
        # Without any the end is near, and leaves the group in order.
        return topics if topics and topics != self._subscribed_topics else None

    def _subscribe(self, topics: list[str]) -> None:
        self._subscribed_topics = topics
        if topics:
            self._consumer.subscribe(
                topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        else:
            self._consumer.unsubscribe()
        self._topics_with_errors.intersection_update(topics)
        logger.info("webhooks: %d topics are followed", len(topics))

    def _pause_or_resume(self, buffer: TopicBuffer) -> None:
        """Pause a topic of which too much is in memory; the others go on."""
        should_pause = self._draining.is_set() or buffer.is_full
        if should_pause == buffer.paused and not buffer.has_new:
            return
        buffer.has_new = False
        partitions = self._positions.partitions_of(buffer.topic)
        if should_pause:
            self._consumer.pause(partitions)
        elif buffer.paused:
            self._consumer.resume(partitions)
        buffer.paused = should_pause

    def _add_messages(self, messages: list[Message]) -> None:
        new = []
        for message in messages:
            topic, partition, offset, error = message.topic(), message.partition(), message.offset(), message.error()
            if error is not None:
                self._log_error_once(topic or "", error)
                continue
            assert topic is not None
            assert partition is not None
            assert offset is not None
            offsets = self._positions.get(topic, partition)
            if offsets is None:
                # The partition was revoked while the message lay in the queue.
                continue
            handed_over = self._handed_over[offsets]
            if handed_over.posted_below is None:
                _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
                handed_over.posted_below = max(end, offset + 1)
            offsets.taken(offset)
            if offset in handed_over.answered:
                offsets.answered(offset)
                continue
            webhook = self._webhook(message, topic, offsets, offset)
            if webhook is not None and offset < handed_over.posted_below and not webhook.is_notification:
                webhook.ask_first = True
                if offset in handed_over.posted:
                    webhook.elsewhere_until = time.monotonic() + self._request_seconds_max
            if webhook is not None:
                self._webhooks[webhook.key] = webhook
                self._buffers[topic].add(webhook.bytes_held)
                new.append(webhook)
        if new:
            self._loop.call_soon_threadsafe(self._accept, new)

    def _handover(self, offsets: Offsets) -> str:
        """Handover text of a commit; requests in flight only for a revoked partition: the others are completed here.

        Offsets of the previous owner that were not read, or are not done yet, are passed on.
        """
        committed, previous = offsets.mark or 0, self._handed_over[offsets]
        done_offsets = {*offsets.answered_ahead, *(offset for offset in previous.answered if offset >= committed)}
        posted_offsets = set()
        if offsets.revoked:
            posted_offsets |= previous.posted
            for webhook in self._webhooks.values():
                if webhook.in_flight:
                    webhook_offsets = [offset for owner, offset in webhook.places if owner is offsets]
                    (done_offsets if webhook.is_notification else posted_offsets).update(webhook_offsets)
        return Handover.of(
            committed, done_offsets, {offset for offset in posted_offsets - done_offsets if offset >= committed}
        ).text()

    def _log_error_once(self, topic: str, error: KafkaError) -> None:
        if error.fatal():
            raise Unavailable(f"reading activities: {error.str()}")
        if topic not in self._topics_with_errors:
            self._topics_with_errors.add(topic)
            logger.warning("reading %s: %s", topic, error.str())

    def _webhook(self, message: Message, topic: str, offsets: Offsets, offset: int) -> Webhook | None:
        value = message.value()
        try:
            record = decode_activity(value)
        except DecodeError as reason:
            logger.warning("%s/%s at %s is no activity: %s", topic, offsets.partition, offset, reason)
            self._producer.dead_letter(message, str(reason), lambda: offsets.answered(offset))
            return None
        key = key_of(record)
        if key in self._recent:
            offsets.answered(offset)
            return None
        original = self._webhooks.get(key)
        if original is not None:
            original.places.append((offsets, offset))
            return None
        return Webhook(record, key, topic=topic, bytes_held=len(value or b""), offsets=offsets, offset=offset)

    def _settle(self) -> None:
        """Take back webhooks that were delivered or have failed."""
        self._producer.poll()
        reassigned = []
        while self._settled:
            webhook = self._settled.popleft()
            if webhook.failure is not None and not webhook.answered:
                self._producer.send_failure(webhook, webhook.failure, self._failure_acknowledged)
                self.failed += 1
                continue
            self._webhooks.pop(webhook.key, None)
            self._buffers[webhook.topic].remove(webhook.bytes_held)
            if webhook.answered:
                self._recent[webhook.key] = None
                for offsets, offset in webhook.places:
                    offsets.answered(offset)
            elif not webhook.revoked and not self._draining.is_set():
                # Given up when its partition was revoked, and assigned again with it.
                reassigned.append(webhook)
        for webhook in reassigned:
            self._webhooks[webhook.key] = webhook
            self._buffers[webhook.topic].add(webhook.bytes_held)
        if reassigned:
            self._loop.call_soon_threadsafe(self._accept, reassigned)
        while len(self._recent) > _RECENT_MAX:
            del self._recent[next(iter(self._recent))]

    def _failure_acknowledged(self, webhook: Webhook) -> None:
        webhook.answered = True
        self._settled.append(webhook)

    # --- partitions come and go -------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        committed = self._positions.begin(consumer, partitions)
        self._positions.assign(partitions)
        for partition in committed:
            offsets = self._positions.get(partition.topic, partition.partition)
            assert offsets is not None
            self._handed_over[offsets] = HandedOver(Handover.read(partition.metadata), partition.offset)
            self._buffers.setdefault(partition.topic, TopicBuffer(partition.topic)).has_new = True

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        revoked = self._forget(partitions)
        ends_at = time.monotonic() + _REVOKE_SECONDS_MAX
        while not self._ending.is_set() and time.monotonic() < ends_at and self._has_in_flight(revoked):
            self._producer.poll(_BUSY_POLL_SECONDS)
            self._settle()
        # Requests that ended since the last look: the next owner would post them again.
        self._settle()
        self._positions.commit(self._consumer, revoked, wait=True)
        self._drop(revoked)

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        # Other gateways have them already: nothing can be committed any more.
        self._drop(self._forget(partitions))

    def _forget(self, partitions: list[TopicPartition]) -> dict[Place, Offsets]:
        # The library keeps a pause for a partition that comes back, where nobody would end it.
        self._consumer.resume(partitions)
        return self._positions.forget(partitions)

    def _drop(self, revoked: dict[Place, Offsets]) -> None:
        for offsets in revoked.values():
            del self._handed_over[offsets]

    def _has_in_flight(self, revoked: dict[Place, Offsets]) -> bool:
        """True while a request of these partitions is in flight, or the report of a failure."""
        offsets_ids = set(map(id, revoked.values()))
        return any(
            (webhook.in_flight or webhook.failure is not None)
            and any(id(offsets) in offsets_ids for offsets, _ in webhook.places)
            for webhook in self._webhooks.values()
        )

    def _leave(self) -> None:
        try:
            # Failures first: their acknowledgements settle offsets to commit.
            self._settle()
            self._producer.flush()
            self._settle()
            self._positions.commit(self._consumer, wait=True)
        except Unavailable as error:
            logger.warning("leaving %s: %s", GROUP, error)
        finally:
            self.connected = False
            leave(self._consumer)
