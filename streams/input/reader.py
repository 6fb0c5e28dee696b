"""Reader of the commands and queries of the assigned partitions: librdkafka, on a thread of its own.

Faust's own consumer stays in the group and fetches nothing. It would decode every answer of the broker in Python, all
partitions of it, however few records came: half a millisecond for each, which is most of a step on an idle system.

The thread owns the consumer: other threads queue orders, which it carries out between two polls.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

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
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import COMMANDS, QUERIES
from backbeat.streams.ports.log import Record

logger = logging.getLogger(__name__)

#: Timeout of a poll; an order waits as long at most.
_POLL_SECONDS = 0.02
_RECORDS_MAX = 1_000
#: Batches that wait for the engine, at most; then the thread waits, and librdkafka fetches ahead up to its own bound.
_BATCHES_MAX = 4
_ENDS_SECONDS = 0.5

Where = tuple[str, int]


class Read(NamedTuple):
    """Records of one partition, and the number of their read."""

    number: int
    records: list[Record]


#: Records that came together, by topic and partition.
Batch = dict[Where, Read]


class Reader:
    """Reads partitions from given offsets on, and hands over batches in order."""

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
                "reconnect.backoff.ms": 50,
                "reconnect.backoff.max.ms": 1_000,
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
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._batches: asyncio.Queue[tuple[int, Batch]]

    # --- the loop's side -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, once; called on the event loop that awaits `next`."""
        if self._thread is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._batches = asyncio.Queue()
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread. Records that were not taken are read again by the next owner."""
        self._stopping.set()
        self._free.release()
        if self._thread is not None:
            self._thread.join()

    async def next(self) -> Batch:
        """The next batch."""
        while True:
            epoch, batch = await self._batches.get()
            self._free.release()
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

        self._orders.append(order)

    def pause(self, number: int) -> None:
        """Pause fetching commands of a partition."""
        self._if_assigned(number, self._consumer.pause)

    def resume(self, number: int) -> None:
        """Resume fetching commands of a partition."""
        self._if_assigned(number, self._consumer.resume)

    def _if_assigned(self, number: int, action: Callable[[list[TopicPartition]], None]) -> None:
        self._orders.append(
            lambda: action([TopicPartition(COMMANDS, number)]) if (COMMANDS, number) in self._assigned else None
        )

    def end_of_commands(self, number: int) -> int | None:
        """End of a partition's commands as of the newest fetch; null: unknown."""
        return self._ends.get(number)

    # --- the thread's side -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        ends_read_at = 0.0
        try:
            while not self._stopping.is_set():
                while self._orders:
                    self._carry_out(self._orders.popleft())
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

    def _hand_over(self, epoch: int, messages: list[Message]) -> None:
        batch: Batch = {}
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
            if where not in batch:
                batch[where] = Read(self._read_numbers.get(partition, 0) if where[0] == COMMANDS else 0, [])
            batch[where].records.append(record)
        if not batch:
            return
        while not self._free.acquire(timeout=self._stall_seconds):
            if not self._is_held_back():
                self._ended(f"nobody has taken what was read for {self._stall_seconds:.0f} s")
                break
            if self._stopping.is_set():
                return
        self._loop.call_soon_threadsafe(self._batches.put_nowait, (epoch, batch))

    def _note(self, error: KafkaError, message: Message) -> None:
        topic, partition = message.topic(), message.partition()
        if error.code() != KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - librdkafka's own codes have this name
            logger.warning("reading %s/%s: %s", topic, partition, error.str())
            if topic is None:
                self._ask_offsets_again()
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


def _note_error(error: KafkaError) -> None:
    # librdkafka retries by itself; a single failed connection is not logged.
    if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - librdkafka's own codes have this name
        OUTAGES.tell(logger, f"commands and queries cannot be read at the moment, {error.str()}")
