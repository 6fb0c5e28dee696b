"""Activities of the clients that are served by webhook: in from Kafka, offsets and failures out.

A thread owns the consumer, the offsets and the table of webhooks in work; the event loop posts. Between them: lists of
webhooks one way, a deque of settled ones the other way. An offset is committed once everything up to it is delivered,
or Kafka has acknowledged the command that says that it could not be. What else is done goes with it (`Handover`), so
that whoever has the partition next begins where this gateway has come to; and what it cannot know to be unposted it
asks the engine about.
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
from backbeat.gateway.webhooks.topics import Flow, Subscription
from backbeat.gateway.webhooks.webhook import Key, Webhook, key_of
from backbeat.schemas.codec import decode_activity
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.client_registry import Registry
from backbeat.schemas.kafka.membership import leave

GROUP = "backbeat-webhooks"

_POLL_SECONDS = 0.1
_BUSY_POLL_SECONDS = 0.01
_COMMIT_SECONDS = 0.5
_RECORDS_MAX = 500
_RECONNECT_SECONDS = 1.0
#: How long requests of a partition that is taken away may go on before its new owner begins.
_REVOKE_SECONDS_MAX = 5.0
#: How often it is looked which topics a gateway that is stopped can give up.
_NARROW_SECONDS = 0.5
_LEAVE_SECONDS_MAX = 15.0
#: Webhooks that are remembered, to know a repeat: an engine that was restarted sends some twice.
_RECENT_MAX = 20_000
_SESSION_TIMEOUT_MS = 10_000
logger = logging.getLogger(__name__)


class Intake:
    """Reads activities and hands them to the loop; takes what is settled and commits."""

    def __init__(
        self,
        bootstrap_servers: str,
        registry: Registry,
        *,
        accept: Callable[[list[Webhook]], None],
        fail: Callable[[BaseException], None],
        request_seconds_max: float,
    ) -> None:
        """`request_seconds_max`: after which no gateway has a request under way that it had begun."""
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
        #: What the owners before have said of assigned partitions.
        self._handed_over: dict[Offsets, HandedOver] = {}
        #: Topics that are subscribed to.
        self._followed: list[str] = []
        self._flows: dict[str, Flow] = {}
        self._webhooks: dict[Key, Webhook] = {}
        self._recent: dict[Key, None] = {}
        self._settled: deque[Webhook] = deque()
        #: Topics of which an error was told, so that it is told once.
        self._complained: set[str] = set()
        self.connected = False
        self.failed = 0

    # --- the loop's side -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect and read, in a thread. A Kafka that is not there yet is waited for."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="backbeat-webhooks", daemon=True)
        self._thread.start()

    def settle(self, webhook: Webhook) -> None:
        """A webhook that is delivered, has failed, or is given up: then another gateway posts it."""
        self._settled.append(webhook)

    def drain(self) -> None:
        """Take nothing more."""
        self._draining.set()

    async def stop(self) -> None:
        """Commit what is done and leave the group."""
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
                        self._turn()
                finally:
                    self._leave()
        except RuntimeError as error:
            if not self._loop.is_closed():
                self._tell(error)
        except BaseException as error:  # noqa: BLE001 - whoever made us hears of it
            self._tell(error)

    def _tell(self, error: BaseException) -> None:
        logger.error("webhooks are not delivered any more: %s", error)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._fail, error)

    def _connect(self) -> bool:
        """Connect; whether it came to that before the end."""
        self._producer = WebhookProducer(self._bootstrap_servers)
        told = False
        while not self._ending.is_set():
            try:
                self._producer.connect()
            except Unavailable as error:
                if not told:
                    logger.warning("webhooks wait for Kafka: %s", error)
                told = True
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
                # A member learns of a rebalance by a heartbeat: the interval is how long the others wait for it.
                "heartbeat.interval.ms": 500,
                # A client that is added, or a gateway that joins, stops only the partitions that move.
                "partition.assignment.strategy": "cooperative-sticky",
                # A topic that was unknown when it was subscribed to is looked for so often.
                "topic.metadata.refresh.interval.ms": 5_000,
                # A topic that was just made is unknown to its broker for a moment; meanwhile none is fetched.
                "fetch.error.backoff.ms": 50,
                "on_commit": self._positions.on_commit,
            },
        )
        self.connected = True
        return True

    def _turn(self) -> None:
        self._settle()
        now = time.monotonic()
        if now - self._committed_at >= _COMMIT_SECONDS:
            self._committed_at = now
            self._positions.commit(self._consumer, wait=False)
        topics = self._topics_under_way(now) if self._draining.is_set() else self._subscription.changed(now)
        if topics is not None:
            self._subscribe(topics)
        for flow in self._flows.values():
            self._regulate(flow)
        if not self._followed:
            self._ending.wait(_POLL_SECONDS)
            return
        busy = self._draining.is_set() or any(flow.paused for flow in self._flows.values())
        message = self._consumer.poll(_BUSY_POLL_SECONDS if busy else _POLL_SECONDS)
        if message is not None:
            self._take([message, *self._consumer.consume(_RECORDS_MAX - 1, 0)])

    def _topics_under_way(self, now: float) -> list[str] | None:
        """The topics to keep until what is under way is done, where they are others; the rest goes to gateways."""
        if now - self._narrowed_at < _NARROW_SECONDS:
            return None
        self._narrowed_at = now
        topics = sorted({webhook.topic for webhook in list(self._webhooks.values()) if webhook.under_way})
        # Without any the end is near, and leaves the group in order.
        return topics if topics and topics != self._followed else None

    def _subscribe(self, topics: list[str]) -> None:
        self._followed = topics
        if topics:
            self._consumer.subscribe(
                topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        else:
            self._consumer.unsubscribe()
        self._complained.intersection_update(topics)
        logger.info("webhooks: %d topics are followed", len(topics))

    def _regulate(self, flow: Flow) -> None:
        """Pause a topic of which too much is in memory; the others go on."""
        wanted = self._draining.is_set() or flow.is_full
        if wanted == flow.paused and not flow.has_new:
            return
        flow.has_new = False
        partitions = self._positions.partitions_of(flow.topic)
        if wanted:
            self._consumer.pause(partitions)
        elif flow.paused:
            self._consumer.resume(partitions)
        flow.paused = wanted

    def _take(self, messages: list[Message]) -> None:
        new = []
        for message in messages:
            topic, partition, offset, error = message.topic(), message.partition(), message.offset(), message.error()
            if error is not None:
                self._complain(topic or "", error)
                continue
            assert topic is not None
            assert partition is not None
            assert offset is not None
            offsets = self._positions.get(topic, partition)
            if offsets is None:
                # Its partition was taken away while it lay in the queue.
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
                self._flows[topic].add(webhook.bytes_held)
                new.append(webhook)
        if new:
            self._loop.call_soon_threadsafe(self._accept, new)

    def _handover(self, offsets: Offsets) -> str:
        """What is said with a commit; only of a partition that goes, what is under way: it is looked after here.

        What the owner before has said and was not read, or is not over yet, is said once more.
        """
        mark, before = offsets.mark or 0, self._handed_over[offsets]
        answered = {*offsets.answered_ahead, *(offset for offset in before.answered if offset >= mark)}
        posted = set()
        if offsets.revoked:
            posted |= before.posted
            for webhook in self._webhooks.values():
                if webhook.under_way:
                    places = [offset for place, offset in webhook.places if place is offsets]
                    (answered if webhook.is_notification else posted).update(places)
        return Handover.of(mark, answered, {offset for offset in posted - answered if offset >= mark}).text()

    def _complain(self, topic: str, error: KafkaError) -> None:
        if error.fatal():
            raise Unavailable(f"reading activities: {error.str()}")
        if topic not in self._complained:
            self._complained.add(topic)
            logger.warning("reading %s: %s", topic, error.str())

    def _webhook(self, message: Message, topic: str, offsets: Offsets, offset: int) -> Webhook | None:
        value = message.value()
        try:
            record = decode_activity(value)
        except DecodeError as reason:
            logger.warning("%s/%s at %s is no activity: %s", topic, offsets.partition, offset, reason)
            self._producer.put_aside(message, str(reason), lambda: offsets.answered(offset))
            return None
        key = key_of(record)
        if key in self._recent:
            offsets.answered(offset)
            return None
        same = self._webhooks.get(key)
        if same is not None:
            same.places.append((offsets, offset))
            return None
        return Webhook(record, key, topic=topic, bytes_held=len(value or b""), offsets=offsets, offset=offset)

    def _settle(self) -> None:
        """What was delivered or has failed since the last time."""
        self._producer.poll()
        again = []
        while self._settled:
            webhook = self._settled.popleft()
            if webhook.failure is not None and not webhook.answered:
                self._producer.send_failure(webhook, webhook.failure, self._failure_acknowledged)
                self.failed += 1
                continue
            self._webhooks.pop(webhook.key, None)
            self._flows[webhook.topic].remove(webhook.bytes_held)
            if webhook.answered:
                self._recent[webhook.key] = None
                for offsets, offset in webhook.places:
                    offsets.answered(offset)
            elif not webhook.revoked and not self._draining.is_set():
                # It was given up when its partition went away, and has come back with it.
                again.append(webhook)
        for webhook in again:
            self._webhooks[webhook.key] = webhook
            self._flows[webhook.topic].add(webhook.bytes_held)
        if again:
            self._loop.call_soon_threadsafe(self._accept, again)
        while len(self._recent) > _RECENT_MAX:
            del self._recent[next(iter(self._recent))]

    def _failure_acknowledged(self, webhook: Webhook) -> None:
        webhook.answered = True
        self._settled.append(webhook)

    # --- partitions come and go -------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        found = self._positions.begin(consumer, partitions)
        self._positions.assign(partitions)
        for one in found:
            offsets = self._positions.get(one.topic, one.partition)
            assert offsets is not None
            self._handed_over[offsets] = HandedOver(Handover.read(one.metadata), one.offset)
            self._flows.setdefault(one.topic, Flow(one.topic)).has_new = True

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        gone = self._forget(partitions)
        ends_at = time.monotonic() + _REVOKE_SECONDS_MAX
        while not self._ending.is_set() and time.monotonic() < ends_at and self._under_way(gone):
            self._producer.poll(_BUSY_POLL_SECONDS)
            self._settle()
        # What ended since the last look: its next owner would post it again.
        self._settle()
        self._positions.commit(self._consumer, gone, wait=True)
        self._drop(gone)

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        # Others have them already: there is nothing to commit any more.
        self._drop(self._forget(partitions))

    def _forget(self, partitions: list[TopicPartition]) -> dict[Place, Offsets]:
        # The library keeps a pause for when the partition comes back, and nobody would end it then.
        self._consumer.resume(partitions)
        return self._positions.forget(partitions)

    def _drop(self, gone: dict[Place, Offsets]) -> None:
        for offsets in gone.values():
            del self._handed_over[offsets]

    def _under_way(self, gone: dict[Place, Offsets]) -> bool:
        """Whether a request is, or the command that says that it failed."""
        several = set(map(id, gone.values()))
        return any(
            (webhook.under_way or webhook.failure is not None)
            and any(id(offsets) in several for offsets, _ in webhook.places)
            for webhook in self._webhooks.values()
        )

    def _leave(self) -> None:
        try:
            # Failures first: their acknowledgements settle what is committed.
            self._settle()
            self._producer.flush()
            self._settle()
            self._positions.commit(self._consumer, wait=True)
        except Unavailable as error:
            logger.warning("leaving %s: %s", GROUP, error)
        finally:
            self.connected = False
            leave(self._consumer)
