"""Member of a consumer group, on a thread of its own: activities in, offsets out.

The thread owns the consumer, the offsets and the intake; the event loop owns what is done with an activity. Between
them: lists of activities one way, a deque of settled ones the other way.

An offset is committed once every record up to it is answered and Kafka has acknowledged the answer. So one that is
killed loses nothing; what it had begun is begun again by another.
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from backbeat.delivery.intake import Intake
from backbeat.delivery.kafka import logger
from backbeat.delivery.offsets import OffsetReceipt, Offsets, is_of
from backbeat.delivery.positions import Place, Positions
from backbeat.delivery.pusher import FULL_SECONDS
from backbeat.delivery.records import Delivery, Key, Owner
from backbeat.delivery.result_producer import ResultProducer
from backbeat.errors import Unavailable
from backbeat.schemas.kafka.membership import leave
from backbeat.schemas.messages.activities import ActivityRecord

#: Records of one poll, at most.
RECORDS_MAX = 500
#: Time that a partition which is taken away is kept for what is under way, before its new owner may begin it again.
_REVOKE_SECONDS_MAX = 5.0

D = TypeVar("D", bound=Delivery)

#: Port of the connection to a group of this name, with these settings: a consumer without a subscription.
Connect: TypeAlias = Callable[[str, Mapping[str, Any]], Consumer]


class GroupMember(ABC, Generic[D]):
    """Member of a consumer group. `_turn` is what it does again and again; the rest follows."""

    #: Further settings of its consumer.
    settings: ClassVar[Mapping[str, Any]] = {}
    #: Interval of the commits, and bound of the wait for the thread's end.
    commit_seconds = 0.2
    leave_seconds_max = 30.0
    #: Time as of `_REVOKE_SECONDS_MAX`, where some of what is under way is of a limited type.
    revoke_limited_seconds_max = _REVOKE_SECONDS_MAX

    def __init__(
        self,
        group: str,
        connect: Connect,
        results: ResultProducer,
        owner: Owner[D],
        *,
        make: Callable[[ActivityRecord, Key, OffsetReceipt], D],
        note: Callable[[Offsets], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`note`: text for a partition's next owner (`Positions`)."""
        self._group = group
        self._connect = connect
        self._results = results
        self._owner = owner
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop
        self._consumer: Consumer
        self._thread: threading.Thread | None = None
        self._draining = False
        self._ending = threading.Event()
        self._committed_at = 0.0
        self._positions = Positions(note)
        self._intake: Intake[Message, OffsetReceipt, D] = Intake(make, self._dead_letter)

    # --- the loop's side -------------------------------------------------------------------------------------------

    def settle(self, delivery: D, *, answered: bool) -> None:
        """Settle an activity that needs no answer, or that is given up: then another gets it."""
        delivery.answered = answered
        self._intake.settle(delivery)

    def set_aside(self, delivery: D) -> None:
        """Have an activity take none of the room for others until it is settled."""
        self._intake.set_aside(delivery)

    def drain(self) -> None:
        """Take nothing more."""
        self._draining = True

    async def stop(self) -> None:
        """Commit what is answered and leave the group."""
        self._draining = True
        self._ending.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, self.leave_seconds_max)
            if self._thread.is_alive():
                logger.error("Kafka does not answer: the group %s was not left in order", self._group)

    def _start_thread(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    # --- the thread's side -----------------------------------------------------------------------------------------

    @abstractmethod
    def _turn(self) -> None:
        """Read some records, or wait for a moment."""

    def _open(self) -> bool:
        """Have a consumer, where there is none yet. False: it was stopped before."""
        return True

    def _join(self) -> Consumer:
        return self._connect(self._group, {**self.settings, "on_commit": self._positions.on_commit})

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:  # noqa: ARG002 - for subclasses
        """Partitions were assigned."""
        self._positions.assign(partitions)

    def _read(self, message: Message, offsets: Offsets, offset: int) -> D | None:
        """The activity of a record; None: it is dealt with otherwise."""
        return self._intake.take(message, message.value(), OffsetReceipt(offsets, offset))

    def _gone(self, delivery: D) -> None:
        """An activity is held no longer."""

    def _warn(self, topic: str, error: KafkaError) -> None:
        logger.warning("reading %s: %s", topic, error.str())

    def _run(self) -> None:
        is_open = False
        try:
            is_open = self._open()
            while is_open and not self._ending.is_set():
                self._settle()
                now = self._clock()
                if now - self._committed_at >= self.commit_seconds:
                    self._committed_at = now
                    self._positions.commit(self._consumer, wait=False)
                self._turn()
        except BaseException as error:  # noqa: BLE001 - its owner raises it again; leaving the group takes its time
            self._owner.report(self._loop, error)
        finally:
            if is_open:
                self._leave()

    def _take(self, messages: list[Message]) -> None:
        deliveries = []
        for message in messages:
            topic, partition, offset, error = message.topic(), message.partition(), message.offset(), message.error()
            if error is not None:
                if error.fatal():
                    raise Unavailable(f"reading {topic}: {error.str()}")
                self._warn(topic or "", error)
                continue
            assert topic is not None
            assert partition is not None
            assert offset is not None
            offsets = self._positions.get(topic, partition)
            if offsets is None:
                # Its partition was taken away while it lay in the queue.
                continue
            offsets.taken(offset)
            delivery = self._read(message, offsets, offset)
            if delivery is not None:
                deliveries.append(delivery)
        if deliveries:
            self._loop.call_soon_threadsafe(self._owner.accept, deliveries)

    def _dead_letter(self, message: Message, receipt: OffsetReceipt, reason: str) -> None:
        """A record that is no activity goes to the dead letters, and the partition goes on."""
        logger.error("%s/%s at %s is no activity: %s", message.topic(), message.partition(), message.offset(), reason)
        while True:
            try:
                self._results.dead_letter(message, reason, receipt.accept)
            except BufferError:
                self._results.serve(FULL_SECONDS)
            else:
                return

    def _settle(self) -> None:
        self._results.serve(0)
        ours = self._intake.settle_all(draining=self._draining, gone=self._gone)
        if ours:
            self._loop.call_soon_threadsafe(self._owner.accept, ours)

    # --- partitions come and go ------------------------------------------------------------------------------------

    def _subscribe(self, consumer: Consumer, topics: list[str]) -> None:
        consumer.subscribe(topics, on_assign=self._assigned, on_revoke=self._on_revoke, on_lost=self._on_lost)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        revoked = self._forget(consumer, partitions)
        began_at = self._clock()
        while not self._ending.is_set() and (under_way := self._under_way(revoked)):
            limited = any(delivery.record.node.granted_at is not None for delivery in under_way)
            if self._clock() - began_at > (self.revoke_limited_seconds_max if limited else _REVOKE_SECONDS_MAX):
                break
            self._results.serve(FULL_SECONDS)
            self._settle()
        if not self._ending.is_set():
            # What ended since the last look: the next owner would begin it again.
            self._settle()
        self._positions.commit(consumer, revoked, wait=True)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Others have them already: there is nothing to commit any more.
        self._forget(consumer, partitions)

    def _forget(self, consumer: Consumer, partitions: list[TopicPartition]) -> dict[Place, Offsets]:
        # The library keeps a pause for when the partition comes back, and nobody would end it then.
        consumer.resume(partitions)
        return self._positions.forget(partitions)

    def _under_way(self, revoked: dict[Place, Offsets]) -> list[D]:
        """Activities of these partitions that are to be waited for."""
        return [
            delivery
            for delivery in self._intake.held.values()
            if delivery.is_under_way and any(is_of(receipt, revoked.values()) for receipt in delivery.receipts)
        ]

    def _leave(self) -> None:
        try:
            # Acknowledgements settle what is to be committed.
            self._settle()
            self._results.flush()
            self._settle()
            self._positions.commit(self._consumer, wait=True)
        except (Unavailable, RuntimeError, KafkaException) as error:
            logger.error("leaving %s: %s", self._group, error)
        finally:
            self._ending.set()
            leave(self._consumer)
            self._results.close()
