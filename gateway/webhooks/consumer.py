"""Consumer of the activities of clients served by webhook; commits offsets, reports failures.

An offset is committed once every record before it is delivered, or Kafka has acknowledged the command that reports its
failure. Records that are done beyond it go with the commit (`Handover`), so that the next owner of the partition
continues where this gateway stopped; if a webhook may have been posted already, the engine is asked first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import msgspec
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from backbeat.delivery.group_member import RECORDS_MAX, Connect, GroupMember
from backbeat.delivery.offsets import Offsets, is_of
from backbeat.delivery.records import Owner
from backbeat.delivery.result_producer import ResultProducer, routed
from backbeat.errors import Unavailable
from backbeat.gateway.webhooks.handover import HandedOver, Handover
from backbeat.gateway.webhooks.topics import Subscription, TopicBuffer
from backbeat.gateway.webhooks.webhook import Webhook
from backbeat.schemas.kafka.client_registry import ClientRegistry
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import DeliveryFailed

GROUP = "backbeat-webhooks"

_POLL_SECONDS = 0.1
_BUSY_POLL_SECONDS = 0.01
_RECONNECT_SECONDS = 1.0
#: Interval at which a stopping gateway looks for topics to give up.
_NARROW_SECONDS = 0.5
logger = logging.getLogger(__name__)


class WebhookConsumer(GroupMember[Webhook]):
    """Consumer thread: hands activities to the loop, takes settled ones and commits."""

    # A topic just created is unknown to its broker for a moment; nothing is fetched meanwhile.
    settings: ClassVar[Mapping[str, Any]] = {"fetch.error.backoff.ms": 50}
    commit_seconds = 0.5
    leave_seconds_max = 15.0

    def __init__(
        self,
        registry: ClientRegistry,
        connect: Connect,
        results: ResultProducer,
        owner: Owner[Webhook],
        *,
        request_seconds_max: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`request_seconds_max`: longest duration of a request that any gateway has begun."""
        super().__init__(GROUP, connect, results, owner, make=Webhook, note=self._handover, clock=clock)
        self._request_seconds_max = request_seconds_max
        self._subscription = Subscription(registry)
        self._narrowed_at = 0.0
        #: Handovers of the previous owners of assigned partitions.
        self._handed_over: WeakKeyDictionary[Offsets, HandedOver] = WeakKeyDictionary()
        #: Subscribed topics.
        self._subscribed_topics: list[str] = []
        self._buffers: dict[str, TopicBuffer] = {}
        #: Webhooks that have failed: the engine is to be told.
        self._failures: deque[Webhook] = deque()
        #: Topics whose error was logged already.
        self._topics_with_errors: set[str] = set()
        self.connected = False
        self.failed = 0

    # --- the loop's side -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect and consume, in a thread. Waits for a Kafka that is not reachable yet."""
        self._loop = asyncio.get_running_loop()
        self._start_thread("backbeat-webhooks")

    def take_back(self, webhook: Webhook) -> None:
        """Take back a webhook that is delivered, has failed, or is left to another gateway."""
        if webhook.failure is not None and not webhook.answered:
            self._failures.append(webhook)
        else:
            self._intake.settle(webhook)

    # --- the thread's side -----------------------------------------------------------------------------------------

    def _open(self) -> bool:
        logged = False
        while not self._ending.is_set():
            try:
                self._results.connect()
            except Unavailable as error:
                if not logged:
                    logger.warning("webhooks wait for Kafka: %s", error)
                logged = True
                self._ending.wait(_RECONNECT_SECONDS)
            else:
                self._consumer = self._join()
                self.connected = True
                return True
        return False

    def _turn(self) -> None:
        now = self._clock()
        topics = self._topics_in_flight(now) if self._draining else self._subscription.changed(now)
        if topics is not None:
            self._follow(topics)
        for buffer in self._buffers.values():
            self._pause_or_resume(buffer)
        if not self._subscribed_topics:
            self._ending.wait(_POLL_SECONDS)
            return
        busy = self._draining or any(buffer.paused for buffer in self._buffers.values())
        message = self._consumer.poll(_BUSY_POLL_SECONDS if busy else _POLL_SECONDS)
        if message is not None:
            self._take([message, *self._consumer.consume(RECORDS_MAX - 1, 0)])

    def _topics_in_flight(self, now: float) -> list[str] | None:
        """Topics with requests in flight, if they differ from the subscription; the rest goes to other gateways."""
        if now - self._narrowed_at < _NARROW_SECONDS:
            return None
        self._narrowed_at = now
        topics = sorted({webhook.topic for webhook in list(self._intake.held.values()) if webhook.in_flight})
        # Without any the end is near, and leaves the group in order.
        return topics if topics and topics != self._subscribed_topics else None

    def _follow(self, topics: list[str]) -> None:
        self._subscribed_topics = topics
        if topics:
            self._subscribe(self._consumer, topics)
        else:
            self._consumer.unsubscribe()
        self._topics_with_errors.intersection_update(topics)
        logger.info("webhooks: %d topics are followed", len(topics))

    def _pause_or_resume(self, buffer: TopicBuffer) -> None:
        """Pause a topic of which too much is in memory; the others go on."""
        should_pause = self._draining or buffer.is_full
        if should_pause == buffer.paused and not buffer.has_new:
            return
        buffer.has_new = False
        partitions = self._positions.partitions_of(buffer.topic)
        if should_pause:
            self._consumer.pause(partitions)
        elif buffer.paused:
            self._consumer.resume(partitions)
        buffer.paused = should_pause

    def _read(self, message: Message, offsets: Offsets, offset: int) -> Webhook | None:
        handed_over = self._handed_over[offsets]
        if handed_over.posted_below is None:
            place = TopicPartition(offsets.topic, offsets.partition)
            _, end = self._consumer.get_watermark_offsets(place, cached=True)
            handed_over.posted_below = max(end, offset + 1)
        if offset in handed_over.answered:
            offsets.answered(offset)
            return None
        webhook = super()._read(message, offsets, offset)
        if webhook is None:
            return None
        webhook.topic, webhook.bytes_held = offsets.topic, len(message.value() or b"")
        self._buffers[webhook.topic].add(webhook.bytes_held)
        if offset < handed_over.posted_below and not webhook.is_notification:
            webhook.ask_first = True
            if offset in handed_over.posted:
                webhook.elsewhere_until = self._clock() + self._request_seconds_max
        return webhook

    def _handover(self, offsets: Offsets) -> str:
        """Handover text of a commit; requests in flight only for a revoked partition: the others are completed here.

        Offsets of the previous owner that were not read, or are not done yet, are passed on.
        """
        committed, previous = offsets.mark or 0, self._handed_over[offsets]
        done_offsets = {*offsets.answered_ahead, *(offset for offset in previous.answered if offset >= committed)}
        posted_offsets = set()
        if offsets.revoked:
            posted_offsets |= previous.posted
            for webhook in self._intake.held.values():
                # A notification that was begun is finished here, also between two tries, unless this gateway stops.
                is_tried_again = webhook.is_notification and webhook.tries > 0 and not self._draining
                if webhook.in_flight or is_tried_again:
                    webhook_offsets = [receipt.offset for receipt in webhook.receipts if is_of(receipt, [offsets])]
                    (done_offsets if webhook.is_notification else posted_offsets).update(webhook_offsets)
        return Handover.of(
            committed, done_offsets, {offset for offset in posted_offsets - done_offsets if offset >= committed}
        ).text()

    def _warn(self, topic: str, error: KafkaError) -> None:
        if topic not in self._topics_with_errors:
            self._topics_with_errors.add(topic)
            super()._warn(topic, error)

    def _settle(self) -> None:
        while self._failures:
            webhook = self._failures.popleft()
            self._results.add([routed(_delivery_failed(webhook))], webhook, self._intake.settle)
            self.failed += 1
        self._results.push()
        super()._settle()

    def _gone(self, webhook: Webhook) -> None:
        self._buffers[webhook.topic].remove(webhook.bytes_held)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        committed = self._positions.begin(consumer, partitions)
        super()._assigned(consumer, partitions)
        for partition in committed:
            offsets = self._positions.get(partition.topic, partition.partition)
            assert offsets is not None
            self._handed_over[offsets] = HandedOver(Handover.read(partition.metadata), partition.offset)
            self._buffers.setdefault(partition.topic, TopicBuffer(partition.topic)).has_new = True

    def _leave(self) -> None:
        self.connected = False
        super()._leave()


def _delivery_failed(webhook: Webhook) -> DeliveryFailed:
    """The command by which an engine, too, gives a node a client error where it cannot deliver."""
    node = webhook.record.node
    return DeliveryFailed(
        id=ids.command_id(b"undeliverable", node.id, node.attempt.to_bytes(8, "big")),
        tid=node.tid,
        node_id=node.id,
        attempt=node.attempt,
        response=msgspec.json.encode({"error": {"message": webhook.failure}}),
    )
