"""JSON of the backlog: what waits in topics, and who takes it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from backbeat.gateway.backlog import Backlog
from backbeat.streams.kafka.queues import Queue


class QueuePartition(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A partition of the commands."""

    partition: int
    engine: Annotated[str | None, Meta(description="the instance that has it; null: none has")]
    waiting: Annotated[int, Meta(description="commands behind the newest commit")]
    end: Annotated[int, Meta(description="the offset after its last record")]


class QueueOfTopic(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A topic for one consumer group."""

    topic: str
    client: Annotated[str, Meta(description="the client application whose topic it is")]
    group: Annotated[str, Meta(description="the consumer group; empty: none has ever read it")]
    state: Annotated[str, Meta(description="of the group: `STABLE` with members, `EMPTY` without")]
    waiting: Annotated[int, Meta(description="records that the group has not taken yet")]


class EngineMember(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An engine in its group."""

    instance: str
    host: str
    partitions: list[int]


class QueueReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Backlog of the topics, and who takes it."""

    at: Annotated[int, Meta(description="milliseconds since the epoch")]
    engines: list[EngineMember]
    commands: list[QueuePartition]
    signals: list[QueueOfTopic]
    activities: list[QueueOfTopic]


def report_of(backlog: Backlog) -> QueueReport:
    """The report of a backlog."""
    engines = {number: engine.instance for engine in backlog.engines for number in engine.partitions}
    queues = backlog.queues
    return QueueReport(
        at=backlog.at,
        engines=[
            EngineMember(instance=engine.instance, host=engine.host, partitions=engine.partitions)
            for engine in backlog.engines
        ],
        commands=[
            QueuePartition(partition=row.partition, engine=engines.get(row.partition), waiting=row.waiting, end=row.end)
            for row in queues.commands.partitions
        ],
        signals=[_queue(queue) for queue in queues.signals],
        activities=[_queue(queue) for queue in queues.activities],
    )


def _queue(queue: Queue) -> QueueOfTopic:
    return QueueOfTopic(
        topic=queue.topic, client=queue.client, group=queue.group, state=queue.group_state, waiting=queue.waiting
    )
