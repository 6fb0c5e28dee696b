"""Deliverers that stop, start and share the work; a broker that is away."""

from __future__ import annotations

import asyncio
import uuid

import msgspec
import pytest
from confluent_kafka import Producer, TopicPartition

from backbeat.compose.local.kafka import KafkaBroker
from backbeat.gateway.http.presentation import node_json
from backbeat.gateway.webhooks.deliverer import Deliverer
from backbeat.payload.values import id_text
from backbeat.schemas.codec import encode_activity
from backbeat.schemas.kafka.client_registry import ClientRegistry, RegisteredClient
from backbeat.schemas.kafka.topics import DEAD_LETTERS, ensure_topics
from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus
from backbeat.schemas.messages.views import NodeView
from backbeat.streams.core.effects import Dispatch
from backbeat.streams.kafka.registration import add_client
from tests.gateway.webhooks.site import Gate, Site
from tests.integration.topic import consumer, ends
from tests.waiting import until_async

pytestmark = pytest.mark.integration


async def test_what_is_not_committed_is_posted_again_and_can_be_recognised(shop):
    gate = Gate()
    shop.site.answers["/decision"] = gate
    first = await shop.deliver()
    sent = shop.signal("twice")
    await shop.site.wait_for(1)
    # Nobody waits for the answer to the request, and the client has not said that it took it.
    first.give_up()
    await first.stop()
    gate.open.set()
    await shop.deliver()

    hooks = await shop.site.wait_for(2)
    assert {hook.headers["X-Backbeat-Delivery"] for hook in hooks} == {f"{id_text(sent)}-1"}


async def test_what_was_delivered_is_not_posted_after_a_restart(shop):
    first = await shop.deliver()
    for number in range(20):
        shop.signal(f"s{number}")
    await shop.site.wait_for(20)
    await first.stop()
    await shop.deliver()
    shop.signal("last")
    await shop.site.wait_for(name="last")

    assert sorted(hook.name for hook in shop.site.hooks) == sorted([*(f"s{number}" for number in range(20)), "last"])


async def test_two_share_the_work_and_one_takes_over(shop):
    first, second = await shop.deliver(), await shop.deliver()
    for number in range(40):
        shop.signal(f"s{number}")
    await shop.site.wait_for(40)
    await first.stop()
    for number in range(40, 80):
        shop.signal(f"s{number}")
    await shop.site.wait_for(80)

    assert sorted(hook.name for hook in shop.site.hooks) == sorted(f"s{number}" for number in range(80))
    await until_async(lambda: second.counts().delivered >= 40)


async def test_those_that_come_and_leave_in_order_have_nothing_posted_twice(shop):
    # So many partitions that some move, whatever other topics there are.
    runner = await asyncio.to_thread(
        shop.add, f"{shop.name}-wide", activity_endpoint=shop.site.url("wide"), partitions=16
    )
    await shop.deliver()
    going_on, moved, came, sent = True, 0, 0, []

    async def send() -> None:
        while going_on:
            sent.append(f"s{len(sent)}")
            shop.signal(sent[-1], runner=runner)
            # Always some that have just been answered when partitions move.
            await shop.site.wait_for(len(sent) - 5)

    sending = asyncio.create_task(send())
    # On a busy machine a new one may get partitions of other topics first.
    while came < 3 or not moved:
        came += 1
        other = await shop.deliver()
        positions = other._consumer._positions
        await until_async(lambda positions=positions: positions._offsets)
        moved += len(positions.partitions_of(runner.topic))
        await other.stop()
    going_on = False
    await sending
    await shop.site.wait_for(len(sent))

    assert sorted(hook.name for hook in shop.site.hooks) == sorted(sent)


async def test_a_broker_that_is_away_for_a_while(shop):
    deliverer = await shop.deliver()
    shop.signal("before")
    await shop.site.wait_for(name="before")
    broker = shop.stack.kafka
    broker.suspend()
    try:
        await until_async(lambda: not shop.registry.followed)
    finally:
        broker.resume()
    shop.signal("after")
    await shop.site.wait_for(name="after")
    await until_async(lambda: shop.registry.followed)
    assert deliverer.counts().connected


async def as_it_is(text: bytes) -> bytes:
    """No payload is kept elsewhere."""
    return text


def received(name: str) -> NodeView:
    """A node that its client has received."""
    return NodeView(
        id=uuid.uuid4().bytes,
        workflow_id=bytes(16),
        parent_id=None,
        user_id=bytes(16),
        name=name,
        mode=Mode.BLOCKING,
        type="activity",
        client_data=b"{}",
        metadata=b"{}",
        subject=b"1",
        decider="D",
        workflow_name="W",
        server=ServerStatus.SENT_TO_CLIENT,
        client=ClientStatus.RECEIVED,
        created_at=0,
        fires_at=0,
        attempt=1,
        complete_by=None,
        retries_remaining=0,
        retry_interval_seconds=0.0,
        parent_link_id=None,
        depth=0,
        seq=1,
        tid="tid\r\nX-Bad: 1",
    )


def activity(client: RegisteredClient, node: NodeView) -> bytes:
    """What an engine sends of a node."""
    return encode_activity(Dispatch(msgspec.structs.replace(node, user_id=client.id_bytes)).record())


async def test_kafka_comes_late_goes_and_comes_back(tmp_path, unique):
    broker = KafkaBroker(tmp_path)
    servers = broker.bootstrap_servers
    registry, site, failures = ClientRegistry(servers), Site(), []
    nodes = {name: received(name) for name in ("before", "after")}

    async def find(node_id: bytes) -> NodeView:
        (node,) = [node for node in nodes.values() if node.id == node_id]
        return node

    deliverer = Deliverer(
        servers, registry, node_body=node_json, find_node=find, load_payload=as_it_is, fail=failures.append
    )
    await site.start()
    await deliverer.start()
    assert not deliverer.counts().connected
    with broker:
        ensure_topics(servers, 1, 1, development=True)
        client = add_client(servers, unique, activity_endpoint=site.url("a"), partitions=1)
        registry.start()
        producer = Producer({"bootstrap.servers": servers, "log_level": 0})
        producer.produce(client.topic, activity(client, nodes["before"]))
        (hook,) = await site.wait_for(name="before")
        assert hook.headers["X-backbeat-tid"] == "tid%0D%0AX-Bad%3A%201"
        broker.kill()
    producer.produce(client.topic, activity(client, nodes["after"]))
    with KafkaBroker(tmp_path, port=broker.port) as again:
        await site.wait_for(name="after")
        again.kill()
    async with asyncio.timeout(120):
        await deliverer.stop()

    await asyncio.to_thread(registry.stop)
    await site.stop()
    assert failures == []


async def test_a_record_that_is_no_activity_is_put_aside(shop):
    reader = consumer(shop.kafka)
    begin = ends(shop.kafka, DEAD_LETTERS)[0]
    reader.assign([TopicPartition(DEAD_LETTERS, 0, begin)])
    producer = Producer({"bootstrap.servers": shop.kafka})
    producer.produce(shop.client.topic, b"no activity", partition=0)
    producer.flush(120)
    await shop.deliver()

    letter = await asyncio.to_thread(reader.poll, 30)
    reader.close()
    assert letter.value() == b"no activity"
    assert dict(letter.headers())["backbeat-source-topic"] == shop.client.topic.encode()
    shop.signal("good")
    await shop.site.wait_for(name="good")
