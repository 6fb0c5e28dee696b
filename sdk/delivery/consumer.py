"""Activities of one client application, through a consumer group: the worker's consumer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import Consumer, TopicPartition

from backbeat.delivery.group_member import RECORDS_MAX, Connect, GroupMember
from backbeat.delivery.offsets import Offsets
from backbeat.delivery.positions import Place
from backbeat.delivery.pusher import FULL_SECONDS, Pusher
from backbeat.delivery.records import ConsumerState, Delivery, Owner
from backbeat.delivery.result_producer import ResultProducer
from backbeat.schemas.kafka.membership import leave
from backbeat.schemas.kafka.topics import activities_topic
from backbeat.transport.connecting import Pinned, connect_in_thread

_POLL_SECONDS = 0.1
#: Time for which a full worker waits before it pauses its partitions: a pause throws away what was fetched ahead.
_FULL_SECONDS_MAX = 1.0
_LAG_SECONDS_MAX = 1.0


def group_of(client: str) -> str:
    """Consumer group of a client application's workers."""
    return f"backbeat-worker-{client}"


class GroupConsumer(GroupMember[Delivery]):
    """Reads activities and hands them to the loop; takes answers and commits."""

    # Run twice at once it would be one more than the limit allows.
    revoke_limited_seconds_max = 60.0

    def __init__(
        self,
        client: str,
        connect: Connect,
        results: ResultProducer,
        owner: Owner[Delivery],
        *,
        held_max: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`held_max`: activities that may be in the worker at once, whether they wait or run."""
        super().__init__(group_of(client), connect, results, owner, make=Delivery, clock=clock)
        self._topic = activities_topic(client)
        self._held_max = held_max
        self._pinned: Pinned
        self._pusher: Pusher
        #: True: some partitions are paused, and some are not: new ones are not.
        self._paused = False
        self._unpaused = True
        self._full_since: float | None = None
        self._rebalanced_at = 0.0
        self._lag: dict[int, int | None] = {}
        #: Cleared by who reads the lag: the library is asked by the thread that polls it, any other it would block.
        self._lag_known = threading.Event()
        self._lag_known.set()

    # --- the loop's side -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect, join the group, begin to read."""
        self._loop = asyncio.get_running_loop()
        self._consumer = await connect_in_thread(self._make, self._give_up)
        self._pinned = Pinned(self._consumer)
        self._pusher = Pusher(self._results.batch, self._loop)
        self._start_thread("backbeat-consumer")

    def send(self, answers: Sequence[tuple[bytes, bytes]], delivery: Delivery) -> None:
        """Send a delivery's answer: commands, each with its route, in order. It is settled once Kafka has them."""
        if self._results.add(answers, delivery, self._intake.settle):
            self._pusher.begin()

    def has_room(self, count: int) -> None:
        """Nothing: fetching ahead has seen to it already."""

    def state(self) -> ConsumerState:
        """Counts and times for reports, from any thread."""
        alive = self._thread is not None and self._thread.is_alive()
        return self._intake.state(rebalanced_at=self._rebalanced_at, alive=alive)

    def lag(self) -> Mapping[int, int | None]:
        """Partition -> records that are not done; None: not known. Blocks for a moment: not from the worker's loop."""
        self._lag_known.clear()
        self._lag_known.wait(_LAG_SECONDS_MAX)
        return self._lag

    # --- the thread's side -----------------------------------------------------------------------------------------

    def _make(self) -> Consumer:
        self._results.connect(self._topic)
        consumer = self._join()
        self._subscribe(consumer, [self._topic])
        return consumer

    def _give_up(self, consumer: Consumer) -> None:
        leave(consumer)
        self._results.close()

    def _turn(self) -> None:
        if not self._lag_known.is_set():
            self._lag = self._positions.lag(self._consumer)
            self._lag_known.set()
        if self._draining or self._intake.room_taken >= self._held_max:
            self._hold()
        else:
            self._fetch()

    def _fetch(self) -> None:
        if self._paused and self._intake.room_taken <= self._held_max // 2:
            self._consumer.resume(self._consumer.assignment())
            self._paused, self._unpaused = False, True
        self._full_since = None
        message = self._consumer.poll(0.0 if self._paused else _POLL_SECONDS)
        if message is None:
            if self._paused:
                self._results.serve(FULL_SECONDS)
            return
        messages = [message]
        room = min(self._held_max - self._intake.room_taken, RECORDS_MAX) - 1
        if room > 0:
            messages += self._consumer.consume(room, 0)
        self._take(messages)

    def _hold(self) -> None:
        """Wait for room. Reports of answers end the wait at once."""
        now = self._clock()
        self._full_since = self._full_since or now
        if self._unpaused and (self._paused or self._draining or now - self._full_since > _FULL_SECONDS_MAX):
            assignment = self._consumer.assignment()
            if assignment:
                self._consumer.pause(assignment)
            self._paused, self._unpaused = True, False
        self._results.serve(FULL_SECONDS)
        if self._paused:
            # A paused consumer must still be polled: rebalances happen in it, and Kafka sees that it is alive.
            message = self._consumer.poll(0)
            if message is not None:
                self._take([message])

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        super()._assigned(consumer, partitions)
        if not self._rebalanced_at:
            self._loop.call_soon_threadsafe(self._owner.joined)
        self._rebalanced_at = time.time()
        # New ones are not paused, whatever the others are.
        self._unpaused = True

    def _forget(self, consumer: Consumer, partitions: list[TopicPartition]) -> dict[Place, Offsets]:
        self._rebalanced_at = time.time()
        return super()._forget(consumer, partitions)
