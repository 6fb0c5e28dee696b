"""Activities in through a share group (KIP-932): a worker takes as many as it can begin, from all partitions.

A thread with an event loop of its own speaks to Kafka (`member`), so that a handler that blocks the worker's
loop cannot lose its locks; another serves the reports of what was sent. A record is accepted once Kafka has
acknowledged its answer, and released when it is given up: then it comes to somebody else.

A broker takes a record out once it was taken so many times without an answer, and nobody would hear of it. So one that
comes for the last time but one is put back to the end of its topic first, and accepted when Kafka has it there.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial

from confluent_kafka import Message

from backbeat.delivery.intake import Intake
from backbeat.delivery.kafka import logger
from backbeat.delivery.pusher import FULL_SECONDS, Pusher
from backbeat.delivery.records import ConsumerState, Delivery, Owner
from backbeat.delivery.result_producer import ResultProducer
from backbeat.delivery.share.group import ShareGroup
from backbeat.delivery.share.session import AcquiredRecord, Lock
from backbeat.schemas.messages.activities import ActivityRecord

_REPORT_SECONDS = 0.1


class ShareConsumer:
    """Takes activities and hands them to the worker's loop; takes answers and settles the records."""

    def __init__(
        self,
        topic: str,
        group: ShareGroup,
        results: ResultProducer,
        owner: Owner[Delivery],
        *,
        held_max: int,
    ) -> None:
        """`held_max`: activities that may be in the worker at once, whether they wait or run."""
        self._topic = topic
        self._group = group
        self._results = results
        self._held_max = held_max
        self._owner = owner
        self._intake: Intake[AcquiredRecord, Lock, Delivery] = Intake(Delivery, self._dead_letter)
        self._outer: asyncio.AbstractEventLoop
        self._pusher: Pusher
        self._loop: asyncio.AbstractEventLoop
        self._threads: list[threading.Thread] = []
        self._draining = False
        self._ending: asyncio.Event
        #: The same from the worker's side, which may stop before the thread has begun.
        self._stopped = threading.Event()
        self._reporting = True
        self._requeued_count = 0
        self._joined_at = 0.0
        #: Deliveries handed to the worker's loop, and those that have arrived there, ever.
        self._handed_over = 0
        self._arrived = 0
        #: Room that the worker reported last: how many more may begin, and `_arrived` at that time.
        self._room = (0, 0)
        #: True: this loop is about to look at what other threads have settled.
        self._woken = False

    # --- the worker's side -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect, join the group, begin to take."""
        self._outer = asyncio.get_running_loop()
        started: Future[None] = Future()
        self._spawn("backbeat-consumer", lambda: asyncio.run(self._main(started)))
        # Not cancelled with its caller: the thread reports there how it went.
        await asyncio.shield(asyncio.wrap_future(started))

    def send(self, answers: Sequence[tuple[bytes, bytes]], delivery: Delivery) -> None:
        """Send a delivery's answer: commands, each with its route, in order. It is settled once Kafka has them."""
        if self._results.add(answers, delivery, self._settle):
            self._pusher.begin()

    def settle(self, delivery: Delivery, *, answered: bool) -> None:
        """Settle a delivery that needs no answer, or that is given up: then another worker gets it."""
        delivery.answered = answered
        self._settle(delivery)

    def set_aside(self, delivery: Delivery) -> None:
        """Have a delivery take none of the room for others until it is settled."""
        self._intake.set_aside(delivery)
        self._wake()

    def has_room(self, count: int) -> None:
        """Allow so many more to begin at once."""
        self._room = (count, self._arrived)
        if count > 0:
            self._wake()

    def state(self) -> ConsumerState:
        """Counts and times for reports, from any thread."""
        alive = bool(self._threads) and self._threads[0].is_alive()
        return self._intake.state(requeued=self._requeued_count, rebalanced_at=self._joined_at, alive=alive)

    def lag(self) -> Mapping[int, int | None]:
        """Partition -> records that the group has not done; None: not known."""
        return self._group.lag

    def drain(self) -> None:
        """Take nothing more."""
        self._draining = True

    async def stop(self) -> None:
        """Settle what is answered, give back the rest, leave the group."""
        self._draining = True
        self._stopped.set()
        if self._threads and self._threads[0].is_alive():
            # It may end by itself at this very moment, or not have begun.
            with contextlib.suppress(RuntimeError, AttributeError):
                self._loop.call_soon_threadsafe(self._ending.set)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _spawn(self, name: str, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _settle(self, delivery: Delivery) -> None:
        self._intake.settle(delivery)
        self._wake()

    def _wake(self) -> None:
        if self._woken:
            return
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._settle_all)
        except RuntimeError:
            logger.debug("the consumer has ended before a handler did")

    def _hand_over(self, deliveries: list[Delivery]) -> None:
        """Runs in the worker's loop."""
        self._arrived += len(deliveries)
        self._owner.accept(deliveries)

    # --- the thread's side -----------------------------------------------------------------------------------------

    async def _main(self, started: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        if self._stopped.is_set():
            self._ending.set()
        try:
            await asyncio.to_thread(self._results.connect, self._topic)
            self._pusher = Pusher(self._results.batch, self._outer)
            await self._group.join(room=self._free, accept=self._take, fail=partial(self._owner.report, self._outer))
        except BaseException as error:  # noqa: BLE001 - it is raised again where the worker starts
            await asyncio.to_thread(self._results.close)
            started.set_exception(error)
            return
        self._joined_at = time.time()
        self._outer.call_soon_threadsafe(self._owner.joined)
        self._spawn("backbeat-reports", self._report)
        started.set_result(None)
        await self._ending.wait()
        self._reporting = False
        # Two threads that serve reports at once would miscount what is unsent.
        await asyncio.to_thread(self._threads[-1].join)
        await asyncio.to_thread(self._results.flush)
        self._settle_all()
        await self._group.leave()
        await asyncio.to_thread(self._results.close)

    def _report(self) -> None:
        """In a thread of its own: reports make room where answers wait for it."""
        try:
            while self._reporting:
                self._results.serve(_REPORT_SECONDS)
        except BaseException as error:  # noqa: BLE001 - it is raised again where run() is awaited
            self._owner.report(self._outer, error)

    def _free(self) -> int:
        count, arrived = self._room
        if self._draining:
            return 0
        return min(count - (self._handed_over - arrived), self._held_max - self._intake.room_taken)

    def _settle_all(self) -> None:
        """Settle the deliveries that other threads have left."""
        self._woken = False
        self._intake.settle_all()
        self._group.wake()

    def _take(self, records: list[AcquiredRecord]) -> None:
        deliveries = []
        for acquired in records:
            refuse = partial(self._requeue, acquired) if acquired.delivery_count >= self._group.last_delivery else None
            delivery = self._intake.take(acquired, acquired.value, acquired.lock, refuse)
            if delivery is not None:
                deliveries.append(delivery)
        if deliveries:
            self._handed_over += len(deliveries)
            try:
                self._outer.call_soon_threadsafe(self._hand_over, deliveries)
            except RuntimeError:
                # The loop was closed without stopping the worker: nobody is there any more.
                logger.error("the worker's event loop is closed: its consumer ends")
                self._ending.set()

    def _dead_letter(self, acquired: AcquiredRecord, lock: Lock, reason: str) -> None:
        logger.error("%s/%s at %s is no activity: %s", self._topic, *lock.place, reason)
        self._move(acquired, partial(self._results.dead_letter, reason=reason))

    def _requeue(self, acquired: AcquiredRecord, record: ActivityRecord) -> bool:
        """Put back a record that was taken too often without an answer."""
        logger.warning(
            "%s %s was taken %d times and not answered: it is put back to the end of its topic",
            record.node.name,
            record.node.id.hex(),
            acquired.delivery_count,
        )
        self._requeued_count += 1
        self._move(acquired, self._results.requeue)
        return True

    def _move(self, acquired: AcquiredRecord, put: Callable[..., None]) -> None:
        """Send a record to another topic, or to the end of its own; then it is done here."""
        partition, offset = acquired.lock.place
        message = Message(
            topic=self._topic,
            partition=partition,
            offset=offset,
            key=acquired.key,
            value=acquired.value,
            headers=list(acquired.headers),
        )

        def acknowledged() -> None:
            self._loop.call_soon_threadsafe(acquired.lock.accept)

        try:
            put(message, acknowledged=acknowledged)
        except BufferError:
            # Kafka does not keep up, or is away. The lock goes on meanwhile.
            self._loop.call_later(FULL_SECONDS, self._move, acquired, put)
