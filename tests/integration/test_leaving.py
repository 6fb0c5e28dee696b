"""Workers and gateways have no partitions any more when they close their consumers; no thread of theirs stays.

What close() calls back about partitions may wait for ever, with the interpreter's lock held; that takes another member
that comes in the same moment, and is rare. So it is looked at what is there to be called back about.
"""

import asyncio
import gc
from functools import partial
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition

from backbeat import Client
from backbeat.delivery.base import make_consumer
from backbeat.delivery.consumer import GroupConsumer
from backbeat.delivery.kafka import make_member
from backbeat.delivery.records import Owner
from backbeat.delivery.result_producer import ResultProducer
from backbeat.gateway.webhooks.consumer import WebhookConsumer
from backbeat.schemas.kafka.client_registry import ClientRegistry
from backbeat.schemas.kafka.topics import ensure_topics
from backbeat.streams.kafka.registration import add_client
from tests.waiting import until_async


class Watched:
    """A consumer, and the partitions that it had when it was closed."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self.at_close: list[TopicPartition] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def close(self) -> None:
        self.at_close = self._consumer.assignment()
        self._consumer.close()


async def stop(consumer: Any) -> Watched:
    """Stop it once it has partitions."""
    await until_async(lambda: consumer._positions._offsets)
    watched = consumer._consumer = Watched(consumer._consumer)
    await consumer.stop()
    return watched


@pytest.fixture
def client(kafka: str, unique: str) -> str:
    ensure_topics(kafka, 8, 1, development=True)
    return add_client(kafka, unique, partitions=4, activity_endpoint="http://127.0.0.1:1/").name


def consumer_of(kafka: str, client: str) -> GroupConsumer:
    consumer = make_consumer(
        "group",
        kafka,
        client,
        Owner(lambda _: None, pytest.fail),
        concurrency=10,
        session_timeout_seconds=10,
    )
    assert isinstance(consumer, GroupConsumer)
    return consumer


async def test_a_worker_leaves_its_group_before_it_closes(kafka, client):
    worker_consumer = consumer_of(kafka, client)
    await worker_consumer.start()
    assert (await stop(worker_consumer)).at_close == []


async def test_a_worker_that_is_cancelled_while_it_connects_leaves_its_group(kafka, client, monkeypatch):
    worker_consumer = consumer_of(kafka, client)
    connect, connected, go_on = worker_consumer._make, asyncio.Event(), asyncio.Event()
    loop, made = asyncio.get_running_loop(), []

    def connect_slowly() -> Watched:
        consumer = connect()
        while not consumer.assignment():
            consumer.poll(0.1)
        made.append(Watched(consumer))
        loop.call_soon_threadsafe(connected.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(120)
        return made[0]

    monkeypatch.setattr(worker_consumer, "_make", connect_slowly)
    starting = asyncio.create_task(worker_consumer.start())
    await asyncio.wait_for(connected.wait(), 120)
    starting.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await until_async(lambda: made[0].at_close is not None)
    assert made[0].at_close == []


async def test_a_gateway_leaves_its_group_before_it_closes(kafka, client):
    registry = ClientRegistry(kafka).start()
    webhook_consumer = WebhookConsumer(
        registry,
        partial(make_member, kafka, 10.0),
        ResultProducer(kafka),
        Owner(lambda _: None, pytest.fail),
        request_seconds_max=1.0,
    )
    webhook_consumer.start()
    assert (await stop(webhook_consumer)).at_close == []
    registry.stop()


async def test_threads_of_what_was_closed_end_before_python_collects_garbage(kafka, client):
    async def connect() -> None:
        async with Client(kafka, client):
            worker_consumer = consumer_of(kafka, client)
            await worker_consumer.start()
            await worker_consumer.stop()

    process, rounds = psutil.Process(), 6
    gc.disable()
    try:
        # Threads of the loop's pool are made as they are needed, and stay.
        await connect()
        threads = process.num_threads()
        for _ in range(rounds):
            await connect()
        # A producer has three threads and more.
        await until_async(lambda: process.num_threads() < threads + 3 * rounds)
    finally:
        gc.enable()
