"""The worker's consumer of a consumer group, on ports: order of acknowledgements, partitions that come and go, ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest
from confluent_kafka import KafkaError

from backbeat.delivery.consumer import GroupConsumer
from backbeat.delivery.offsets import OffsetReceipt, Offsets
from backbeat.delivery.records import Delivery, Owner
from backbeat.delivery.result_producer import ResultProducer
from backbeat.errors import Unavailable
from backbeat.schemas.codec import decode_activity, encode_activity
from backbeat.schemas.kafka.topics import COMMANDS, DEAD_LETTERS, activities_topic
from backbeat.schemas.messages.activities import ActivityKind
from tests.sdk.delivery.kafka_ports import Group, Producer, record_of
from tests.waiting import until, until_async

TOPIC = activities_topic("shop")
ANSWER = [(b"n" * 16, b"answer")]


class Time:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


class Rig:
    """A consumer, and what its worker was given."""

    def __init__(self, *, held_max: int = 100) -> None:
        self.group, self.producer, self.time = Group(), Producer(holds=True, topics=(TOPIC,)), Time()
        self.deliveries: list[Delivery] = []
        self.failures: list[BaseException] = []
        self.is_joined = asyncio.Event()
        self.consumer = GroupConsumer(
            "shop",
            self.group.connect,
            ResultProducer("nowhere:1", self.producer.make),
            Owner(self._accept, self.failures.append, self.is_joined.set),
            held_max=held_max,
            clock=self.time,
        )

    def _accept(self, deliveries: Sequence[Delivery]) -> None:
        self.deliveries += deliveries

    @property
    def numbers(self) -> list[int]:
        return [delivery.record.node.seq for delivery in self.deliveries]

    async def take(self, *numbers: int, partition: int = 0) -> list[Delivery]:
        """Have these taken, and begun."""
        count = len(self.deliveries)
        self.group.put(*map(record_of, numbers), partition=partition)
        await until_async(lambda: len(self.deliveries) == count + len(numbers))
        for delivery in self.deliveries[count:]:
            delivery.begun = True
        return self.deliveries[count:]

    async def answer(self, *deliveries: Delivery, commands: int = 1) -> None:
        """Answer these, and wait until the library has the answers."""
        count = len(self.producer.sent)
        for delivery in deliveries:
            self.consumer.send(ANSWER * commands, delivery)
        await until_async(lambda: len(self.producer.sent) == count + len(deliveries) * commands)

    async def is_committed(self, **marks: int) -> None:
        """Wait until these are the newest commits: p0=3 is offset 3 of partition 0."""
        expected = {int(name[1:]): offset for name, offset in marks.items()}

        def is_so() -> bool:
            self.time.seconds += 1
            return self.group.marks == expected

        await until_async(is_so)

    async def turns(self) -> None:
        """Wait until the thread has gone round, so that what was not done is not to be done."""
        for _ in range(2):
            turned = threading.Event()
            self.time.seconds += 1
            self.group.do(turned.set)
            assert await asyncio.to_thread(turned.wait, 60)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    await rig.consumer.start()
    rig.group.assign(0, 1)
    await rig.is_joined.wait()
    yield rig
    rig.group.commit_returns.set()
    await rig.consumer.stop()


async def test_an_offset_passes_only_what_is_answered_and_acknowledged(rig: Rig) -> None:
    first, second, third = await rig.take(1, 2, 3)
    await rig.answer(third, second)
    rig.producer.acknowledge()
    await until_async(lambda: third.answered and second.answered)
    await rig.turns()
    assert rig.group.marks == {}
    # All of its commands, and not the first alone.
    await rig.answer(first, commands=2)
    rig.producer.acknowledge(1)
    await rig.turns()
    assert (first.unsent, rig.group.marks) == (1, {})
    rig.producer.acknowledge(1)
    await rig.is_committed(p0=3)


async def test_what_needs_no_answer_is_committed_and_what_is_given_up_is_not(rig: Rig) -> None:
    first, second = await rig.take(1, 2)
    rig.consumer.settle(first, answered=True)
    await rig.is_committed(p0=1)
    rig.consumer.drain()
    rig.consumer.settle(second, answered=False)
    await until_async(lambda: rig.consumer.state().held == 0)
    await rig.consumer.stop()
    assert rig.group.marks == {0: 1}


async def test_a_repeat_runs_once_and_its_offset_goes_on(rig: Rig) -> None:
    (delivery,) = await rig.take(1)
    rig.group.put(record_of(1), record_of(2))
    await until_async(lambda: len(rig.deliveries) == 2)
    rig.consumer.settle(rig.deliveries[1], answered=True)
    await rig.turns()
    assert rig.group.marks == {}
    rig.consumer.settle(delivery, answered=True)
    await rig.is_committed(p0=3)
    rig.group.put(record_of(2), record_of(1))
    await rig.is_committed(p0=5)
    assert (rig.numbers, rig.consumer.state().repeats) == ([1, 2], 3)


async def test_an_activity_and_notifications_of_different_messages_are_no_repeats(rig: Rig) -> None:
    def notification(message: str) -> bytes:
        return encode_activity(msgspec.structs.replace(record, kind=ActivityKind.NOTIFICATION, message=message))

    record = decode_activity(record_of(1))
    client, server = notification("Client Error"), notification("Server Error")
    rig.group.put(record_of(1), client, server, client, notification(""))
    await until_async(lambda: len(rig.deliveries) == 4)
    assert [delivery.record.message for delivery in rig.deliveries] == [None, "Client Error", "Server Error", ""]
    assert rig.consumer.state().repeats == 1


async def test_what_is_no_activity_goes_to_the_dead_letters_before_its_offset_is_passed(rig: Rig) -> None:
    rig.producer.full = 3
    rig.group.put(b"nonsense", b"")
    await until_async(lambda: len(rig.producer.sent) == 2)
    await rig.turns()
    assert (rig.producer.values(DEAD_LETTERS), rig.group.marks) == ([b"nonsense", b""], {})
    rig.producer.acknowledge()
    await rig.is_committed(p0=2)
    assert rig.consumer.state().dead_letters == 2


async def test_an_answer_waits_for_room(rig: Rig) -> None:
    (delivery,) = await rig.take(1)
    rig.producer.full = 2
    await rig.answer(delivery)
    assert rig.producer.values(COMMANDS) == [b"answer"]


async def test_answers_that_are_done_together_are_sent_together_also_while_the_loop_is_blocked(rig: Rig) -> None:
    first, second = await rig.take(1, 2)
    for delivery in (first, second):
        rig.consumer.send(ANSWER, delivery)
    assert rig.producer.sent == []
    # A handler that blocks the worker's loop holds up no answer but its own.
    until(lambda: len(rig.producer.sent) == 2, "the answers")
    rig.producer.acknowledge()
    await rig.is_committed(p0=2)
    assert rig.producer.batches == [2]


async def test_a_flush_sends_what_is_gathered() -> None:
    producer = Producer(holds=True)
    results = ResultProducer("nowhere:1", producer.make)
    results.connect()
    delivery = Delivery(decode_activity(record_of(1)), (b"n" * 16, 1, None), OffsetReceipt(Offsets(TOPIC, 0), 0))
    producer.full = 2
    assert results.add(ANSWER * 2, delivery, lambda _: None)
    results.flush()
    assert producer.values(COMMANDS) == [b"answer", b"answer"]


# --- partitions come and go ------------------------------------------------------------------------------------------


async def test_a_partition_that_goes_waits_for_what_is_begun_and_takes_its_offset_along(rig: Rig) -> None:
    begun, waiting = await rig.take(1, 2)
    waiting.begun = False
    rig.group.revoke(0)
    await until_async(lambda: begun.revoked)
    await rig.answer(begun)
    rig.producer.acknowledge()
    await until_async(lambda: rig.group.marks == {0: 1})
    # The worker sees that the other is not its own any more.
    rig.consumer.settle(waiting, answered=False)
    await until_async(lambda: rig.consumer.state().held == 0)
    assert rig.numbers == [1, 2]


@pytest.mark.parametrize(("granted_at", "seconds"), [(None, 5), (1, 60)])
async def test_a_partition_is_kept_for_some_seconds_and_longer_for_what_is_limited(
    rig: Rig, granted_at: int | None, seconds: int
) -> None:
    rig.group.put(record_of(1, granted_at=granted_at))
    await until_async(lambda: rig.deliveries)
    rig.deliveries[0].begun = True
    gone = threading.Event()
    rig.group.revoke(0)
    rig.group.do(gone.set)
    await until_async(lambda: rig.deliveries[0].revoked)
    rig.time.seconds += seconds - 1
    assert not await asyncio.to_thread(gone.wait, 0.2)
    rig.time.seconds += 2
    assert await asyncio.to_thread(gone.wait, 60)
    # It may end all the same; its offset is the next owner's.
    rig.consumer.settle(rig.deliveries[0], answered=True)
    await until_async(lambda: rig.consumer.state().held == 0)
    assert rig.group.marks.get(0, 0) == 0


async def test_what_was_given_up_is_handed_over_again_when_its_partition_comes_back(rig: Rig) -> None:
    (delivery,) = await rig.take(1)
    delivery.begun = False
    rig.group.revoke(0)
    rig.group.assign(0)
    # As the new owner it reads the record again, and knows it.
    rig.group.put(record_of(1))
    await until_async(lambda: len(delivery.receipts) == 2)
    rig.consumer.settle(delivery, answered=False)
    await until_async(lambda: len(rig.deliveries) == 2)
    assert rig.deliveries[1] is delivery
    assert not delivery.begun


async def test_a_lost_partition_is_not_committed(rig: Rig) -> None:
    (delivery,) = await rig.take(1)
    rig.group.revoke(0, lost=True)
    await until_async(lambda: delivery.revoked)
    rig.consumer.settle(delivery, answered=True)
    await rig.turns()
    assert rig.group.marks == {}


async def test_a_full_worker_reads_no_more_until_half_is_done() -> None:
    rig = Rig(held_max=4)
    await rig.consumer.start()
    rig.group.assign(0)
    deliveries = await rig.take(1, 2, 3, 4)
    rig.group.put(record_of(5))

    def is_paused() -> bool:
        rig.time.seconds += 1
        return rig.group.paused == {0}

    await until_async(is_paused)
    # One that comes meanwhile is paused, too.
    rig.group.assign(1)
    await until_async(lambda: rig.group.paused == {0, 1})
    for delivery in deliveries[:2]:
        rig.consumer.settle(delivery, answered=True)
    await until_async(lambda: rig.numbers == [1, 2, 3, 4, 5])
    assert rig.group.paused == set()
    await rig.consumer.stop()


async def test_what_is_set_aside_takes_no_room() -> None:
    rig = Rig(held_max=4)
    await rig.consumer.start()
    rig.group.assign(0)
    aside = await rig.take(1, 2, 3, 4)
    for delivery in aside:
        rig.consumer.set_aside(delivery)
        rig.consumer.set_aside(delivery)
    others = await rig.take(5, 6, 7, 8)
    rig.group.put(record_of(9))

    def is_paused() -> bool:
        rig.time.seconds += 1
        return rig.group.paused == {0}

    await until_async(is_paused)
    # One that is settled leaves no room behind that it had not taken.
    rig.consumer.settle(aside[0], answered=True)
    await rig.turns()
    assert rig.numbers == list(range(1, 9))
    for delivery in others[:2]:
        rig.consumer.settle(delivery, answered=True)
    await until_async(lambda: rig.numbers == list(range(1, 10)))
    await rig.consumer.stop()


# --- ends ------------------------------------------------------------------------------------------------------------


async def test_a_stop_commits_what_kafka_acknowledges_meanwhile_and_leaves(rig: Rig) -> None:
    first, _ = await rig.take(1, 2)
    rig.consumer.send(ANSWER, first)
    flushed = rig.producer.flush

    def flush(timeout: float) -> int:
        rig.producer.acknowledge()
        return flushed(timeout)

    rig.producer.flush = flush  # type: ignore[method-assign]
    await rig.consumer.stop()
    assert (rig.group.marks, rig.group.closed_with) == ({0: 1}, [])
    assert not rig.consumer.state().alive


async def test_a_stop_ends_within_its_deadline_though_kafka_does_not_answer(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    (delivery,) = await rig.take(1)
    rig.group.commit_returns.clear()
    rig.consumer.settle(delivery, answered=True)
    rig.consumer.leave_seconds_max = 0.1
    await rig.consumer.stop()
    assert rig.consumer.state().alive
    assert "the group backbeat-worker-shop was not left in order" in caplog.text
    rig.group.commit_returns.set()
    await until_async(lambda: not rig.consumer.state().alive)


class FatalError(KafkaError):
    """As of a member that another one with its name replaced."""

    def fatal(self) -> bool:
        return True


@pytest.mark.parametrize(
    "error", [RuntimeError("the consumer is closed"), ValueError("what nobody thinks of"), SystemExit(3)]
)
async def test_a_thread_that_fails_is_told_of_and_leaves_the_group(rig: Rig, error: BaseException) -> None:
    def fail() -> None:
        raise error

    rig.group.do(fail)
    await until_async(lambda: not rig.consumer.state().alive)
    assert rig.failures == [error]
    assert rig.group.closed_with == []


async def test_an_error_of_a_fetch_is_a_line_and_a_fatal_one_ends_the_consumer(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.group.put_error(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
    await rig.take(1)
    assert f"reading {TOPIC}" in caplog.text
    rig.group.put_error(FatalError(KafkaError.FENCED_INSTANCE_ID))
    await until_async(lambda: rig.failures)
    assert isinstance(rig.failures[0], Unavailable)


async def test_an_answer_that_kafka_refuses_ends_the_consumer_and_its_offset_stays(rig: Rig) -> None:
    (delivery,) = await rig.take(1)
    await rig.answer(delivery)
    rig.producer.acknowledge(error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    await until_async(lambda: rig.failures)
    assert "Kafka does not take a record" in str(rig.failures[0])
    await rig.consumer.stop()
    assert rig.group.marks.get(0, 0) == 0
    assert rig.group.closed_with == []


async def test_a_start_that_is_cancelled_leaves_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    rig, is_connected, go_on = Rig(), threading.Event(), threading.Event()
    subscribe = rig.group.subscribe

    def subscribe_slowly(topics: list[str], **listeners: Any) -> None:
        subscribe(topics, **listeners)
        rig.group.assign(0)
        rig.group.poll(0)
        is_connected.set()
        assert go_on.wait(60)

    monkeypatch.setattr(rig.group, "subscribe", subscribe_slowly)
    starting = asyncio.create_task(rig.consumer.start())
    assert await asyncio.to_thread(is_connected.wait, 60)
    starting.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await until_async(lambda: rig.group.closed_with is not None)
    assert rig.group.closed_with == []
    # Nothing was begun: there is nothing to stop.
    await rig.consumer.stop()


async def test_what_is_behind_is_known_to_other_threads(rig: Rig) -> None:
    first, _ = await rig.take(1, 2)
    rig.consumer.settle(first, answered=True)
    await rig.is_committed(p0=1)
    assert await asyncio.to_thread(rig.consumer.lag) == {0: 1, 1: None}
