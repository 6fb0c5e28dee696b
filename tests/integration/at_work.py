"""Workers in a test: run for a while, and given activities as an engine would give them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from confluent_kafka import Consumer, Producer, TopicPartition

from backbeat import Worker
from backbeat.schemas.codec import encode_activity
from backbeat.schemas.kafka.topics import activities_topic
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus
from backbeat.schemas.messages.views import NodeView
from backbeat.streams.core.effects import Dispatch


@contextlib.asynccontextmanager
async def running(*workers: Worker) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(worker.run(handle_signals=False)) for worker in workers]
    try:
        yield
    finally:
        for worker in workers:
            worker.stop()
        await asyncio.gather(*tasks)


def activity(name: str, subject: str, number: int, user_id: bytes) -> NodeView:
    workflow_id = ids.workflow_id(user_id, "Sale", f'"{subject}"'.encode())
    return NodeView(
        id=ids.node_id(workflow_id, b"command", number),
        workflow_id=workflow_id,
        parent_id=None,
        user_id=user_id,
        name=name,
        mode=Mode.BLOCKING,
        type="activity",
        client_data=b'{"params":[%d]}' % number,
        metadata=b"{}",
        subject=f'"{subject}"'.encode(),
        decider="d",
        workflow_name="Sale",
        server=ServerStatus.SENT_TO_CLIENT,
        client=ClientStatus.RECEIVED,
        created_at=1,
        fires_at=1,
        attempt=1,
        complete_by=None,
        retries_remaining=0,
        retry_interval_seconds=1.0,
        parent_link_id=None,
        depth=1,
        seq=number,
        tid="",
    )


def work_record(number: int) -> bytes:
    return encode_activity(Dispatch(activity("Work", "A", number, b"u" * 16)).record())


def put(bootstrap: str, name: str, *values: bytes, partition: int = 0) -> None:
    """Put records on one partition of a client's activities, as the engine would."""
    producer = Producer({"bootstrap.servers": bootstrap})
    for value in values:
        producer.produce(activities_topic(name), value, partition=partition)
    assert producer.flush(120) == 0


def committed(bootstrap: str, name: str, partition: int = 0) -> int:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"backbeat-worker-{name}"})
    try:
        offset: int = consumer.committed([TopicPartition(activities_topic(name), partition)], timeout=120)[0].offset
    finally:
        consumer.close()
    return offset
