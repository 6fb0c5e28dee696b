"""The reader where the group's coordinator has moved; what it reads of a real Kafka: tests/conformance."""

from __future__ import annotations

import asyncio
import threading

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
        self._refused = False

    def incremental_assign(self, partitions):
        self.assignments.append(sorted((each.topic, each.partition, each.offset) for each in partitions))

    def incremental_unassign(self, partitions):
        self.assignments.append(sorted((each.topic, each.partition) for each in partitions))

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
    """A command as librdkafka gives it."""

    def error(self):
        return None

    def topic(self):
        return COMMANDS

    def partition(self):
        return 0

    def offset(self):
        return 7

    def timestamp(self):
        return 1, 1_700_000_000_000

    def key(self):
        return b"key"

    def value(self):
        return b"value"

    def headers(self):
        return None


async def test_batches_that_wait_on_purpose_end_nothing():
    reasons, asked, is_held = [], [], True

    def is_held_back():
        asked.append(is_held)
        return is_held

    reader = Reader("127.0.0.1:1", "group", ended=reasons.append, stall_seconds=0.02, is_held_back=is_held_back)
    reader._loop, reader._batches = asyncio.get_running_loop(), asyncio.Queue()
    for _ in range(reader_module._BATCHES_MAX):
        await asyncio.to_thread(reader._hand_over, 0, [_Record()])
    waiting = asyncio.create_task(asyncio.to_thread(reader._hand_over, 0, [_Record()]))
    await until_async(lambda: len(asked) > 2)
    assert reasons == []
    is_held = False
    await waiting
    assert reasons == ["nobody has taken what was read for 0 s"]


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
        return consumer.assignments

    first, taken_back, again = asyncio.run(read())
    assert first == [(QUERIES, 0, OFFSET_STORED), (QUERIES, 2, OFFSET_STORED)]
    assert taken_back == [(QUERIES, 0), (QUERIES, 2)]
    assert again == first
