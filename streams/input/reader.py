"""Reader of the commands and queries of the assigned partitions: librdkafka, on a thread of its own.

Faust's own consumer stays in the group and fetches nothing. It would decode every answer of the broker in Python, all
partitions of it, however few records came: half a millisecond for each, which is most of a step on an idle system.

The thread owns the consumer: other threads queue orders, which it carries out between two polls.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple, Protocol

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_STORED,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from backbeat.schemas.kafka.broker_log import OUTAGES
from backbeat.schemas.kafka.dead_letters import headers_of
from backbeat.schemas.kafka.security import CONNECT_AT_ONCE, connection
from backbeat.schemas.kafka.topics import COMMANDS, QUERIES
from backbeat.streams.ports.log import Record

logger = logging.getLogger(__name__)

#: Timeout of a poll; an order waits as long at most.
_POLL_SECONDS = 0.02
_RECORDS_MAX = 1_000
#: Batches of commands that wait for the engine, at most; then the thread waits, and librdkafka fetches ahead up to its
#: own bound.
_BATCHES_MAX = 4
#: Time for which it waits so; then only queries are read. A pause throws away what was fetched ahead.
_WAIT_SECONDS = 1.0
#: Pause before the group's offsets are asked for again.
_ASK_AGAIN_SECONDS = 0.5
_ENDS_SECONDS = 0.5
#: Bound of the first look at a topic; without an answer its partitions are read all the same, later.
_LOOK_SECONDS_MAX = 1.0

Where = tuple[str, int]


class Read(NamedTuple):
    """Records of one partition, and the number of their read."""

    number: int
    records: list[Record]


#: Records that came together, by topic and partition.
Batch = dict[Where, Read]


class Room(Protocol):
    """Port of the reader: whoever takes the commands may have no room for more. Used on the event loop."""

    @property
    def has_room(self) -> bool:
        """True while more commands may be taken."""

    async def room(self) -> None:
        """Wait until more may be taken."""


class _Batches:
    """Batches between thread and event loop: of queries, and of commands, which wait for room."""

    def __init__(self) -> None:
        self.queries: deque[tuple[int, Batch]] = deque()
        self.commands: deque[tuple[int, Batch]] = deque()
        self.added = asyncio.Event()

    def put(self, epoch: int, queries: Batch, commands: Batch) -> None:
        """Add what was read together; on the event loop."""
        if queries:
            self.queries.append((epoch, queries))
        if commands:
            self.commands.append((epoch, commands))
        self.added.set()


class Reader:
    """Reads partitions from given offsets on, and hands over batches in order; queries pass commands without room."""

    def __init__(
        self,
        bootstrap_servers: str,
        group: str,
        *,
        ended: Callable[[str], object],
        stall_seconds: float,
        is_held_back: Callable[[], bool] = lambda: False,
    ) -> None:
        """`ended` is called on the reader's thread with a reason: no batch taken for `stall_seconds`, or a cut log.

        `is_held_back`: true while batches wait on purpose, for a disk or for brokers; called on that thread.
        """
        self._consumer = Consumer(
            {
                **connection(bootstrap_servers),
                **CONNECT_AT_ONCE,
                # It joins nothing and commits nothing: the group's offsets say where queries begin.
                "group.id": group,
                "enable.auto.commit": False,
                # A position that the log does not hold is an error.
                "auto.offset.reset": "error",
                "isolation.level": "read_uncommitted",
                "fetch.min.bytes": 1,
                # A fetch that waits holds up a partition that was just assigned.
                "fetch.wait.max.ms": 100,
                "fetch.queue.backoff.ms": 2,
                "queued.min.messages": 5_000,
                "queued.max.messages.kbytes": 8_192,
                "socket.nagle.disable": True,
                "log_level": 2,
                "error_cb": _note_error,
            }
        )
        self._ended = ended
        self._stall_seconds = stall_seconds
        self._is_held_back = is_held_back
        self._orders: deque[Callable[[], None]] = deque()
        self._assigned: set[Where] = set()
        self._ends: dict[int, int] = {}
        #: partitions of the commands: number of the current read
        self._read_numbers: dict[int, int] = {}
        #: raised by every `forget`: earlier batches are dropped
        self._epoch = 0
        self._free = threading.Semaphore(_BATCHES_MAX)
        #: commands for which there was no room; meanwhile partitions of commands are paused, and queries are read
        self._held: deque[tuple[int, Batch]] = deque()
        self._held_since = 0.0
        #: partitions of commands that the engine has paused
        self._paused: set[int] = set()
        self._ask_again_at: float | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._batches: _Batches

    # --- the loop's side -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, once; called on the event loop that awaits `next`."""
        if self._thread is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._batches = _Batches()
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread. Records that were not taken are read again by the next owner."""
        self._stopping.set()
        self._free.release()
        if self._thread is not None:
            self._thread.join()

    async def next(self, room: Room) -> Batch:
        """The next batch: of queries at once, of commands when there is room."""
        batches = self._batches
        while True:
            if batches.queries:
                epoch, batch = batches.queries.popleft()
            elif batches.commands and room.has_room:
                epoch, batch = batches.commands.popleft()
                self._free.release()
            else:
                batches.added.clear()
                await _first_of(batches.added.wait(), room.room()) if batches.commands else await batches.added.wait()
                continue
            if epoch == self._epoch:
                return batch

    def forget(self) -> None:
        """Unassign all partitions, and drop batches that were not taken."""
        self._epoch += 1
        self._orders.append(self._unassign)

    def read_queries(self, numbers: Iterable[int]) -> None:
        """Read partitions of the queries, from the group's offsets on."""
        partitions = [TopicPartition(QUERIES, number, OFFSET_STORED) for number in numbers]
        self._orders.append(lambda: self._assign(partitions))

    def read_commands(self, number: int, offset: int, read_number: int) -> None:
        """Read a partition of the commands from an offset on, in place of an earlier read.

        Its records carry the number of this read.
        """
        epoch = self._epoch
        where = TopicPartition(COMMANDS, number, offset)

        def order() -> None:
            if epoch == self._epoch:
                if (COMMANDS, number) in self._assigned:
                    self._consumer.incremental_unassign([where])
                self._assign([where])
                self._read_numbers[number] = read_number
                if self._held:
                    self._consumer.pause([where])

        self._orders.append(order)

    def pause(self, number: int) -> None:
        """Pause fetching commands of a partition."""

        def order() -> None:
            if (COMMANDS, number) in self._assigned:
                self._paused.add(number)
                self._consumer.pause([TopicPartition(COMMANDS, number)])

        self._orders.append(order)

    def resume(self, number: int) -> None:
        """Resume fetching commands of a partition."""

        def order() -> None:
            self._paused.discard(number)
            if (COMMANDS, number) in self._assigned and not self._held:
                self._consumer.resume([TopicPartition(COMMANDS, number)])

        self._orders.append(order)

    def end_of_commands(self, number: int) -> int | None:
        """End of a partition's commands as of the newest fetch; null: unknown."""
        return self._ends.get(number)

    # --- the thread's side -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        ends_read_at = 0.0
        # The library looks for unknown leaders once a second, where it has asked for the group's coordinator before.
        with contextlib.suppress(KafkaException):
            for topic in (COMMANDS, QUERIES):
                self._consumer.list_topics(topic, _LOOK_SECONDS_MAX)
        try:
            while not self._stopping.is_set():
                while self._orders:
                    self._carry_out(self._orders.popleft())
                if self._held:
                    self._hand_over_held()
                if self._ask_again_at is not None and time.monotonic() > self._ask_again_at:
                    self._ask_again_at = None
                    self._ask_offsets_again()
                epoch = self._epoch
                message = self._consumer.poll(_POLL_SECONDS)
                if message is not None:
                    self._hand_over(epoch, [message, *self._consumer.consume(_RECORDS_MAX, 0)])
                if time.monotonic() - ends_read_at > _ENDS_SECONDS:
                    ends_read_at = time.monotonic()
                    self._read_ends()
        except RuntimeError:
            # The event loop was closed.
            logger.info("the reader ends: its event loop is closed")
        finally:
            self._consumer.close()

    def _carry_out(self, order: Callable[[], None]) -> None:
        try:
            order()
        except KafkaException as error:
            # The partition was revoked meanwhile. One that does not move for another reason is read again.
            logger.warning("the reader: %s", error.args[0].str())

    def _assign(self, partitions: list[TopicPartition]) -> None:
        self._consumer.incremental_assign(partitions)
        self._assigned |= {(item.topic, item.partition) for item in partitions}

    def _unassign(self) -> None:
        if self._assigned:
            self._consumer.incremental_unassign([TopicPartition(*where) for where in self._assigned])
        self._assigned, self._ends = set(), {}
        self._paused.clear()
        self._held.clear()

    def _hand_over(self, epoch: int, messages: list[Message]) -> None:
        queries: Batch = {}
        commands: Batch = {}
        for message in messages:
            error, partition, offset = message.error(), message.partition(), message.offset()
            if error is not None:
                self._note(error, message)
                continue
            assert partition is not None
            assert offset is not None
            headers = headers_of(message)
            record = Record(partition, offset, message.timestamp()[1], message.key(), message.value(), headers)
            where = (message.topic() or "", partition)
            batch = commands if where[0] == COMMANDS else queries
            if where not in batch:
                batch[where] = Read(self._read_numbers.get(partition, 0) if where[0] == COMMANDS else 0, [])
            batch[where].records.append(record)
        if queries:
            self._loop.call_soon_threadsafe(self._batches.put, epoch, queries, {})
        if not commands:
            return
        if self._held or not self._free.acquire(timeout=min(_WAIT_SECONDS, self._stall_seconds)):
            self._hold(epoch, commands)
        else:
            self._loop.call_soon_threadsafe(self._batches.put, epoch, {}, commands)

    def _hold(self, epoch: int, commands: Batch) -> None:
        """Keep commands for which there is no room, and read queries alone until there is."""
        if not self._held:
            self._held_since = time.monotonic()
            self._carry_out(lambda: self._consumer.pause(self._of_commands()))
        self._held.append((epoch, commands))

    def _hand_over_held(self) -> None:
        """Hand over what is held, as far as there is room; then all is read again."""
        now = time.monotonic()
        while self._held and self._free.acquire(blocking=False):
            epoch, commands = self._held.popleft()
            self._loop.call_soon_threadsafe(self._batches.put, epoch, {}, commands)
            self._held_since = now
        if not self._held:
            self._carry_out(lambda: self._consumer.resume(self._of_commands()))
        elif now - self._held_since > self._stall_seconds:
            if not self._is_held_back():
                self._ended(f"nobody has taken what was read for {self._stall_seconds:.0f} s")
            self._held_since = now

    def _of_commands(self) -> list[TopicPartition]:
        """The partitions of commands that the engine has not paused."""
        return [
            TopicPartition(*where) for where in self._assigned if where[0] == COMMANDS and where[1] not in self._paused
        ]

    def _note(self, error: KafkaError, message: Message) -> None:
        topic, partition = message.topic(), message.partition()
        if error.code() != KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - librdkafka's own codes have this name
            logger.warning("reading %s/%s: %s", topic, partition, error.str())
            if topic is None:
                self._ask_again_at = time.monotonic() + _ASK_AGAIN_SECONDS
        elif topic == QUERIES and partition is not None:
            # The group has read none yet, or they were deleted by retention: no client waits for an answer.
            self._consumer.incremental_unassign([TopicPartition(topic, partition)])
            self._consumer.incremental_assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
        else:
            self._ended(f"{topic}/{partition}: the log was cut, and engines would skip commands: {error.str()}")

    def _ask_offsets_again(self) -> None:
        """Begin to read the queries anew: librdkafka asks once where the group is.

        A coordinator that had just moved refuses that, for none of the partitions in particular; they would be read
        by nobody until the next assignment. What is read twice is answered twice, and its asker takes one.
        """
        queries = [where for where in self._assigned if where[0] == QUERIES]
        self._consumer.incremental_unassign([TopicPartition(*where) for where in queries])
        self._consumer.incremental_assign([TopicPartition(*where, OFFSET_STORED) for where in queries])

    def _read_ends(self) -> None:
        for topic, number in self._assigned:
            if topic == COMMANDS:
                # As of the newest fetch: no request is sent.
                _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, number), cached=True)
                if end >= 0:
                    self._ends[number] = end


async def _first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait until one of them is over."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _note_error(error: KafkaError) -> None:
    # librdkafka retries by itself; a single failed connection is not logged.
    if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - librdkafka's own codes have this name
        OUTAGES.tell(logger, f"commands and queries cannot be read at the moment, {error.str()}")
