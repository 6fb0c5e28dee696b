"""The reader where the group's coordinator has moved; what it reads of a real Kafka: tests/conformance."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque

from confluent_kafka import OFFSET_STORED, KafkaError

from backbeat.schemas.kafka.topics import COMMANDS, QUERIES
from backbeat.streams.input import reader as reader_module
from backbeat.streams.input.reader import Reader
from tests.waiting import until, until_async


class _Refusal:
    """librdkafka's message that the group's offsets could not be asked for: of no topic."""

    def error(self):
        return KafkaError(KafkaError.NOT_COORDINATOR, "Failed to fetch committed offsets for 0 partition(s)")

    def topic(self):
        return None

    def partition(self):
        return 0

    def offset(self):
        return None


class _Consumer:
    """A consumer whose first question about the group's offsets is refused."""

    def __init__(self):
        self.assignments = []
        self.times = []
        self._refused = False

    def list_topics(self, _topic, _seconds):
        """The brokers answer at once."""

    def incremental_assign(self, partitions):
        self.times.append(time.monotonic())
        self.assignments.append(sorted((place.topic, place.partition, place.offset) for place in partitions))

    def incremental_unassign(self, partitions):
        self.assignments.append(sorted((place.topic, place.partition) for place in partitions))

    def poll(self, seconds):
        if self.assignments and not self._refused:
            self._refused = True
            return _Refusal()
        threading.Event().wait(seconds)
        return None

    def consume(self, *_):
        return []

    def close(self):
        pass


class _Record:
    """A record as librdkafka gives it."""

    def __init__(self, topic=COMMANDS, offset=7):
        self._topic, self._offset = topic, offset

    def error(self):
        return None

    def topic(self):
        return self._topic

    def partition(self):
        return 0

    def offset(self):
        return self._offset

    def timestamp(self):
        return 1, 1_700_000_000_000

    def key(self):
        return b"key"

    def value(self):
        return b"value"

    def headers(self):
        return None


class _Log:
    """A consumer of a log with any number of commands, and with the queries that are put into it."""

    def __init__(self):
        self.queries: deque[_Record] = deque()
        self.is_paused = False
        self._assigned = False
        self._offset = 0

    def list_topics(self, _topic, _seconds):
        """The brokers answer at once."""

    def incremental_assign(self, partitions):
        self._assigned = True

    def pause(self, partitions):
        assert {partition.topic for partition in partitions} == {COMMANDS}
        self.is_paused = True

    def resume(self, partitions):
        self.is_paused = False

    def poll(self, seconds):
        if self._assigned and not self.is_paused:
            self._offset += 1
            return _Record(offset=self._offset)
        if self.queries:
            return self.queries.popleft()
        threading.Event().wait(seconds)
        return None

    def consume(self, *_):
        return []

    def get_watermark_offsets(self, *_, **__):
        return 0, -1

    def close(self):
        pass


class _Room:
    """Room for commands, or none."""

    def __init__(self):
        self._event = asyncio.Event()

    @property
    def has_room(self):
        return self._event.is_set()

    async def room(self):
        await self._event.wait()

    def open(self):
        self._event.set()


async def test_commands_without_room_hold_up_no_query():
    reader = Reader("127.0.0.1:1", "group", ended=lambda _: None, stall_seconds=600)
    reader._consumer.close()
    reader._consumer = log = _Log()
    reader.start()
    reader.read_commands(0, 0, 1)
    room = _Room()
    try:
        await until_async(lambda: log.is_paused)
        log.queries.append(_Record(QUERIES, 1))
        batch = await asyncio.wait_for(reader.next(room), 60)
        assert [(topic, [record.offset for record in read.records]) for (topic, _), read in batch.items()] == [
            (QUERIES, [1])
        ]
        room.open()
        offsets: list[int] = []
        # All that was read before the pause, what was held, and what is read after it: in order, and none twice.
        while len(offsets) < 20:
            batch = await asyncio.wait_for(reader.next(room), 60)
            offsets += [record.offset for read in batch.values() for record in read.records]
        assert offsets == list(range(1, len(offsets) + 1))
        await until_async(lambda: not log.is_paused)
    finally:
        await asyncio.to_thread(reader.stop)


async def test_who_waits_for_a_batch_gets_a_query_before_there_is_room():
    reader = Reader("127.0.0.1:1", "group", ended=lambda _: None, stall_seconds=600)
    reader._loop, reader._batches = asyncio.get_running_loop(), reader_module._Batches()
    room = _Room()
    reader._batches.put(0, {}, {(COMMANDS, 0): reader_module.Read(0, [])})
    waiting = asyncio.create_task(reader.next(room))
    await asyncio.sleep(0)
    reader._batches.put(0, {(QUERIES, 0): reader_module.Read(0, [])}, {})
    assert list(await waiting) == [(QUERIES, 0)]
    waiting = asyncio.create_task(reader.next(room))
    await asyncio.sleep(0)
    room.open()
    assert list(await waiting) == [(COMMANDS, 0)]


async def test_batches_that_wait_on_purpose_end_nothing():
    reasons, asked, is_held = [], [], True

    def is_held_back():
        asked.append(is_held)
        return is_held

    reader = Reader("127.0.0.1:1", "group", ended=reasons.append, stall_seconds=0.02, is_held_back=is_held_back)
    reader._consumer.close()
    reader._consumer = log = _Log()
    reader.start()
    reader.read_commands(0, 0, 1)
    try:
        await until_async(lambda: len(asked) > 2)
        assert reasons == []
        is_held = False
        await until_async(lambda: reasons)
        assert reasons[0] == "nobody has taken what was read for 0 s"
        assert log.is_paused
    finally:
        await asyncio.to_thread(reader.stop)


def test_queries_are_read_anew_where_the_coordinator_refused_their_offsets():
    async def read():
        reader = Reader("127.0.0.1:1", "group", ended=lambda _: None, stall_seconds=60)
        reader._consumer.close()
        reader._consumer = consumer = _Consumer()
        reader.read_queries([0, 2])
        reader.start()
        try:
            await asyncio.to_thread(until, lambda: len(consumer.assignments) >= 3, "they are assigned again")
        finally:
            await asyncio.to_thread(reader.stop)
        return consumer

    consumer = asyncio.run(read())
    first, taken_back, again = consumer.assignments
    assert first == [(QUERIES, 0, OFFSET_STORED), (QUERIES, 2, OFFSET_STORED)]
    assert taken_back == [(QUERIES, 0), (QUERIES, 2)]
    assert again == first
    assert consumer.times[1] - consumer.times[0] >= reader_module._ASK_AGAIN_SECONDS
