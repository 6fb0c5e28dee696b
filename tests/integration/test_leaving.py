"""Workers and gateways have no partitions any more when they close their consumers.

What close() calls back about partitions may wait for ever, with the interpreter's lock held; that takes another member
that comes in the same moment, and is rare. So it is looked at what is there to be called back about.
"""

import asyncio
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from backbeat.delivery import consumer as worker_side
from backbeat.gateway.webhooks import consumer as gateway_side
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


async def stop(webhook_consumer: Any) -> Watched:
    """Stop it once it has partitions."""
    await until_async(lambda: webhook_consumer._positions._offsets)
    watched = webhook_consumer._consumer = Watched(webhook_consumer._consumer)
    await webhook_consumer.stop()
    return watched


@pytest.fixture
def client(kafka: str, unique: str) -> str:
    ensure_topics(kafka, 8, 1, development=True)
    return add_client(kafka, unique, partitions=4, activity_endpoint="http://127.0.0.1:1/").name


async def test_a_worker_leaves_its_group_before_it_closes(kafka, client):
    webhook_consumer = worker_side.GroupConsumer(
        kafka,
        client,
        jobs_max=10,
        session_timeout_seconds=10,
        accept=lambda _: None,
        fail=pytest.fail,
        joined=lambda: None,
    )
    await webhook_consumer.start()
    assert (await stop(webhook_consumer)).at_close == []


async def test_a_worker_that_is_cancelled_while_it_connects_leaves_its_group(kafka, client, monkeypatch):
    webhook_consumer = worker_side.GroupConsumer(
        kafka,
        client,
        jobs_max=10,
        session_timeout_seconds=10,
        accept=lambda _: None,
        fail=pytest.fail,
        joined=lambda: None,
    )
    connect, connected, go_on = webhook_consumer._connect, asyncio.Event(), asyncio.Event()
    loop, made = asyncio.get_running_loop(), []

    def connect_slowly() -> Watched:
        consumer = connect()
        while not consumer.assignment():
            consumer.poll(0.1)
        made.append(Watched(consumer))
        loop.call_soon_threadsafe(connected.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(120)
        return made[0]

    monkeypatch.setattr(webhook_consumer, "_connect", connect_slowly)
    starting = asyncio.create_task(webhook_consumer.start())
    await asyncio.wait_for(connected.wait(), 120)
    starting.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await until_async(lambda: made[0].at_close is not None)
    assert made[0].at_close == []


async def test_a_gateway_leaves_its_group_before_it_closes(kafka, client):
    registry = ClientRegistry(kafka).start()
    webhook_consumer = gateway_side.WebhookConsumer(
        kafka, registry, accept=lambda _: None, fail=pytest.fail, request_seconds_max=1.0
    )
    webhook_consumer.start()
    assert (await stop(webhook_consumer)).at_close == []
    registry.stop()
