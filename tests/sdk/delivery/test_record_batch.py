"""Batches of records: with Kafka's library (its own broker in memory), and as an event loop pushes them."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from backbeat.delivery.pusher import Pusher, push_overdue
from backbeat.delivery.record_batch import RecordBatch
from tests.waiting import until, until_async

TOPIC = "commands"
PARTITIONS = 3


class Reports:
    """What became of records."""

    def __init__(self) -> None:
        self.errors: list[int | None] = []

    def note(self, error: KafkaError | None, _: Message | None) -> None:
        self.errors.append(None if error is None else error.code())


@pytest.fixture
def producer() -> Iterator[Producer]:
    """A producer with room for seven records, and a broker of the library's own."""
    producer = Producer(
        {
            "bootstrap.servers": "in memory",
            "test.mock.num.brokers": 1,
            "queue.buffering.max.messages": 7,
            "message.max.bytes": 2_000,
            "enable.idempotence": True,
            "log_level": 0,
        }
    )
    yield producer
    producer.purge()
    producer.flush()


def read(producer: Producer, count: int) -> dict[int, list[bytes]]:
    """The values of all partitions, once there are so many."""
    broker = next(iter(producer.list_topics(timeout=60).brokers.values()))
    consumer = Consumer({"bootstrap.servers": f"{broker.host}:{broker.port}", "group.id": "test", "log_level": 0})
    consumer.assign([TopicPartition(TOPIC, number, 0) for number in range(PARTITIONS)])
    values: dict[int, list[bytes]] = defaultdict(list)

    def is_read() -> bool:
        for message in consumer.consume(count, 0.1):
            partition, value = message.partition(), message.value()
            if message.error() is None and partition is not None and value is not None:
                values[partition].append(value)
        return sum(map(len, values.values())) >= count

    until(is_read, f"{count} records")
    consumer.close()
    return values


def test_records_without_room_stay_and_keep_their_order(producer: Producer) -> None:
    batch, reports, is_full = RecordBatch(producer, waits=True), Reports(), False
    for number in range(200):
        batch.add(TOPIC, number % PARTITIONS, b"%d" % number, b"key", reports.note)
        if not number % 50:
            # What is added later goes behind what is left.
            is_full |= not batch.push()
    while not batch.push():
        is_full = True
        producer.poll(0.1)
    producer.flush()
    assert is_full
    assert reports.errors == [None] * 200
    assert read(producer, 200) == {
        partition: [b"%d" % number for number in range(partition, 200, PARTITIONS)] for partition in range(PARTITIONS)
    }


def test_a_record_that_is_not_taken_at_all_is_reported_and_the_others_go(producer: Producer) -> None:
    batch, reports = RecordBatch(producer, waits=True), Reports()
    for value in (b"first", b"x" * 5_000, b"second"):
        batch.add(TOPIC, 0, value, b"key", reports.note)
    assert batch.push()
    assert reports.errors == [KafkaError.MSG_SIZE_TOO_LARGE]
    producer.flush()
    assert reports.errors[1:] == [None, None]
    assert read(producer, 2) == {0: [b"first", b"second"]}


def test_records_that_may_not_wait_are_refused_where_there_is_no_room(producer: Producer) -> None:
    batch, reports = RecordBatch(producer, waits=False), Reports()
    for number in range(9):
        batch.add(TOPIC, 0, b"%d" % number, b"key", reports.note)
    assert batch.push()
    assert reports.errors == [KafkaError._QUEUE_FULL] * 2
    assert len(batch) == 0


class Calls:
    """A producer that notes its calls, and has room."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, list[bytes]]] = []
        self.called = threading.Event()

    def produce_batch(self, _: str, records: list[dict[str, Any]], partition: int) -> int:
        self.calls.append((partition, [record["value"] for record in records]))
        self.called.set()
        return len(records)


def batch_of(calls: Calls) -> RecordBatch:
    return RecordBatch(calls, waits=True)  # type: ignore[arg-type]


def add(batch: RecordBatch, pusher: Pusher, partition: int, value: bytes) -> None:
    if batch.add(TOPIC, partition, value, b"key", Reports().note):
        pusher.begin()


async def test_records_of_rounds_that_follow_each_other_are_pushed_with_one_call_a_partition() -> None:
    calls = Calls()
    batch = batch_of(calls)
    pusher = Pusher(batch, asyncio.get_running_loop())

    async def work(number: int) -> None:
        add(batch, pusher, number % 2, b"%d" % number)
        await asyncio.sleep(0)
        add(batch, pusher, number % 2, b"%d again" % number)

    await asyncio.gather(*map(work, range(4)))
    await until_async(lambda: len(batch) == 0)
    assert calls.calls == [(0, [b"0", b"2", b"0 again", b"2 again"]), (1, [b"1", b"3", b"1 again", b"3 again"])]


async def test_a_thread_adds_and_the_loop_pushes_also_when_it_is_closed() -> None:
    calls = Calls()
    batch = batch_of(calls)
    pusher = Pusher(batch, asyncio.get_running_loop())
    await asyncio.to_thread(add, batch, pusher, 0, b"first")
    await until_async(lambda: calls.calls == [(0, [b"first"])])
    loop = asyncio.new_event_loop()
    loop.close()
    await asyncio.to_thread(add, batch, Pusher(batch, loop), 1, b"second")
    assert calls.calls[1:] == [(1, [b"second"])]


def test_what_a_blocked_loop_has_left_another_thread_pushes() -> None:
    calls = Calls()
    batch = batch_of(calls)
    batch.add(TOPIC, 0, b"first", b"key", Reports().note)
    push_overdue(batch)
    assert calls.calls == []

    def is_pushed() -> bool:
        push_overdue(batch)
        return calls.called.is_set()

    until(is_pushed, "the push")
    assert (calls.calls, batch.seconds) == ([(0, [b"first"])], 0.0)


class Broken(Calls):
    """A producer whose call fails for one partition, as one that was closed does."""

    def produce_batch(self, topic: str, records: list[dict[str, Any]], partition: int) -> int:
        if partition == 1:
            raise RuntimeError("Producer has been closed")
        return super().produce_batch(topic, records, partition)


@pytest.mark.parametrize("waits", [True, False])
async def test_a_call_that_fails_is_reported_to_whoever_waits_and_what_comes_later_is_pushed(waits: bool) -> None:  # noqa: FBT001
    broken, reports = Broken(), Reports()
    batch = RecordBatch(broken, waits=waits)  # type: ignore[arg-type]
    pusher = Pusher(batch, asyncio.get_running_loop())
    for partition in (1, 1, 2):
        if batch.add(TOPIC, partition, b"value", b"key", reports.note):
            pusher.begin()
    await until_async(lambda: len(reports.errors) == 2)
    assert reports.errors == [KafkaError._FAIL] * 2
    assert len(batch) == 0
    add(batch, pusher, 2, b"later")
    await until_async(lambda: len(broken.calls) == 2)
    assert broken.calls == [(2, [b"value"]), (2, [b"later"])]
    # From the thread that reads answers, too: it goes on.
    batch.add(TOPIC, 1, b"last", b"key", reports.note)
    batch._begun_at -= 1.0
    push_overdue(batch)
    assert reports.errors == [KafkaError._FAIL] * 3
