"""The worker's consumer of a share group, on ports: what is taken, accepted, released, put back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError

from backbeat.delivery.records import Delivery, Owner
from backbeat.delivery.result_producer import ResultProducer
from backbeat.delivery.share.consumer import ShareConsumer
from backbeat.delivery.share.protocol import AckType
from backbeat.delivery.share.session import AcquiredRecord, Lock
from backbeat.errors import Unavailable
from backbeat.schemas.kafka.topics import COMMANDS, DEAD_LETTERS, activities_topic
from tests.sdk.delivery.kafka_ports import Producer, record_of
from tests.waiting import until_async

TOPIC = activities_topic("shop")
ANSWER = [(b"n" * 16, b"answer")]
ACCEPT, RELEASE = AckType.ACCEPT, AckType.RELEASE


class Group:
    """A share group (`ShareGroup`), which gives what the test puts into it and notes what became of it."""

    last_delivery = 4

    def __init__(self) -> None:
        self.lag: dict[int, int | None] = {0: 3}
        self.acks: list[tuple[int, AckType]] = []
        self.log: list[str] = []
        self.join_error: BaseException | None = None
        self.may_join = asyncio.Event()
        self.may_join.set()
        self.loop: asyncio.AbstractEventLoop
        self.room: Callable[[], int]
        self.accept: Callable[[list[AcquiredRecord]], None]
        self.fail: Callable[[BaseException], None]
        self._offset = 0

    async def join(self, *, room: Any, accept: Any, fail: Any) -> None:
        self.loop, self.room, self.accept, self.fail = asyncio.get_running_loop(), room, accept, fail
        if self.join_error is not None:
            raise self.join_error

    def wake(self) -> None: ...

    async def leave(self) -> None:
        self.log.append("leave")

    def settle(self, lock: Lock, kind: AckType) -> None:
        """As a session does it."""
        lock.revoked = True
        self.acks.append((lock.place[1], kind))

    def put(self, *values: bytes, delivery_count: int = 1) -> list[Lock]:
        """Give records, whatever room there is."""
        acquired = []
        for value in values:
            lock = Lock(self, (0, self._offset), 0.0)  # type: ignore[arg-type]
            acquired.append(AcquiredRecord(lock, b"key", value, [("header", b"value")], delivery_count))
            self._offset += 1
        self.loop.call_soon_threadsafe(self.accept, acquired)
        return [record.lock for record in acquired]


class Rig:
    """A consumer, and what its worker was given."""

    def __init__(self) -> None:
        self.group, self.producer = Group(), Producer(holds=True, topics=(TOPIC,))
        self.deliveries: list[Delivery] = []
        self.failures: list[BaseException] = []
        self.is_joined = asyncio.Event()
        self.consumer = ShareConsumer(
            TOPIC,
            self.group,  # type: ignore[arg-type]
            ResultProducer("nowhere:1", self.producer.make),
            Owner(self._accept, self.failures.append, self.is_joined.set),
            held_max=4,
        )

    def _accept(self, deliveries: Sequence[Delivery]) -> None:
        self.deliveries += deliveries

    async def take(self, *numbers: int) -> list[Delivery]:
        count = len(self.deliveries)
        self.group.put(*map(record_of, numbers))
        await until_async(lambda: len(self.deliveries) == count + len(numbers))
        return self.deliveries[count:]

    async def answer(self, *deliveries: Delivery, commands: int = 1) -> None:
        """Answer these, and wait until the library has the answers."""
        count = len(self.producer.sent)
        for delivery in deliveries:
            self.consumer.send(ANSWER * commands, delivery)
        await until_async(lambda: len(self.producer.sent) == count + len(deliveries) * commands)

    async def room(self) -> int:
        """The room that the group's member sees."""
        seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        self.group.loop.call_soon_threadsafe(lambda: loop.call_soon_threadsafe(seen.set_result, self.group.room()))
        return await seen


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    await rig.consumer.start()
    await rig.is_joined.wait()
    yield rig
    await rig.consumer.stop()


async def test_a_record_is_accepted_once_all_of_its_answer_is_acknowledged(rig: Rig) -> None:
    first, second = await rig.take(1, 2)
    await rig.answer(first, commands=2)
    await rig.answer(second)
    rig.producer.acknowledge(1)
    await until_async(lambda: first.unsent == 1)
    assert (rig.group.acks, rig.consumer.state().unacknowledged) == ([], 2)
    rig.producer.acknowledge(1)
    await until_async(lambda: rig.group.acks == [(0, ACCEPT)])
    rig.producer.acknowledge()
    await until_async(lambda: rig.group.acks == [(0, ACCEPT), (1, ACCEPT)])
    assert rig.consumer.state().held == 0


async def test_what_is_given_up_is_released_and_runs_again_when_it_comes_again(rig: Rig) -> None:
    (delivery,) = await rig.take(1)
    rig.consumer.settle(delivery, answered=False)
    await until_async(lambda: rig.group.acks == [(0, RELEASE)])
    assert delivery.revoked
    await rig.take(1)
    assert len(rig.deliveries) == 2


async def test_a_repeat_runs_once_and_all_its_records_are_accepted(rig: Rig) -> None:
    (delivery,) = await rig.take(1)
    rig.group.put(record_of(1))
    await until_async(lambda: len(delivery.receipts) == 2)
    rig.consumer.settle(delivery, answered=True)
    await until_async(lambda: rig.group.acks == [(0, ACCEPT), (1, ACCEPT)])
    rig.group.put(record_of(1), delivery_count=4)
    await until_async(lambda: len(rig.group.acks) == 3)
    assert (len(rig.deliveries), rig.consumer.state().repeats, rig.producer.sent) == (1, 2, [])


async def test_a_record_whose_lock_was_lost_is_not_acknowledged(rig: Rig) -> None:
    (delivery,) = await rig.take(1)
    delivery.receipts[0].revoked = True
    assert delivery.revoked
    rig.consumer.settle(delivery, answered=True)
    await until_async(lambda: rig.consumer.state().held == 0)
    assert rig.group.acks == []


async def test_what_is_no_activity_goes_to_the_dead_letters_and_waits_for_room_there(rig: Rig) -> None:
    rig.producer.full = 2
    rig.group.put(b"nonsense")
    await until_async(lambda: rig.producer.values(DEAD_LETTERS) == [b"nonsense"])
    assert rig.group.acks == []
    rig.producer.acknowledge()
    await until_async(lambda: rig.group.acks == [(0, ACCEPT)])
    assert rig.consumer.state().dead_letters == 1


async def test_what_was_taken_too_often_is_put_back_also_when_it_is_held(rig: Rig) -> None:
    rig.group.put(record_of(1), delivery_count=3)
    await until_async(lambda: rig.deliveries)
    rig.group.put(record_of(1), record_of(2), delivery_count=4)
    await until_async(lambda: rig.producer.values(TOPIC) == [record_of(1), record_of(2)])
    assert (rig.group.acks, rig.consumer.state().requeued) == ([], 2)
    rig.producer.acknowledge()
    await until_async(lambda: rig.group.acks == [(1, ACCEPT), (2, ACCEPT)])
    assert len(rig.deliveries[0].receipts) == 1


async def test_no_more_is_taken_than_can_begin(rig: Rig) -> None:
    rig.consumer.has_room(3)
    assert await rig.room() == 3
    await rig.take(1, 2)
    # The worker has not said yet how many have begun.
    assert await rig.room() == 1
    rig.consumer.has_room(10)
    assert await rig.room() == 2
    rig.consumer.drain()
    assert await rig.room() == 0


async def test_a_stop_accepts_what_is_acknowledged_meanwhile_and_leaves(rig: Rig) -> None:
    (delivery,) = await rig.take(1)
    rig.consumer.send(ANSWER, delivery)
    flushed = rig.producer.flush

    def flush(timeout: float) -> int:
        rig.producer.acknowledge()
        return flushed(timeout)

    rig.producer.flush = flush  # type: ignore[method-assign]
    await rig.consumer.stop()
    assert (rig.group.acks, rig.group.log) == ([(0, ACCEPT)], ["leave"])
    assert not rig.consumer.state().alive
    # A handler that nobody waited for ends: there is nobody to be told.
    rig.consumer.settle(delivery, answered=False)


async def test_a_group_that_cannot_be_joined_is_the_starts_error() -> None:
    rig = Rig()
    rig.group.join_error = Unavailable("the share group cannot be joined")
    with pytest.raises(Unavailable, match="cannot be joined"):
        await rig.consumer.start()
    await rig.consumer.stop()
    assert not rig.consumer.state().alive


async def test_an_answer_that_kafka_refuses_ends_the_worker(rig: Rig) -> None:
    (delivery,) = await rig.take(1)
    await rig.answer(delivery)
    assert rig.producer.values(COMMANDS) == [b"answer"]
    rig.producer.acknowledge(error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    await until_async(lambda: rig.failures)
    assert "Kafka does not take a record" in str(rig.failures[0])
    assert rig.group.acks == []


async def test_a_member_that_fails_ends_the_worker(rig: Rig) -> None:
    error = Unavailable("the topic was deleted")
    rig.group.loop.call_soon_threadsafe(rig.group.fail, error)
    await until_async(lambda: rig.failures == [error])
