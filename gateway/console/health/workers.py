"""Workers of each client application: whether somebody takes its activities, and since when nobody does."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from backbeat.gateway.console.health.watch import Watch
from backbeat.schemas.kafka.clients import RegisteredClient
from backbeat.streams.kafka.queues import Queue

#: States of a consumer group without members.
_EMPTY = ("", "EMPTY", "DEAD")
#: Time without a move after which a group without members is taken for nobody: workers of a share group are none, and
#: move its position every 15 s.
_STILL_MS = 45_000


def _has_members(queue: Queue) -> bool:
    """True for a topic that somebody of the consumer group reads."""
    return queue.group_state not in _EMPTY


class Workers(msgspec.Struct, frozen=True, kw_only=True):
    """Workers of a client application, or the gateways that post its webhooks."""

    client_id: bytes
    client: str
    #: Activities that nobody has taken yet, of the group that is furthest behind.
    waiting: int
    are_there: bool
    #: Milliseconds since the epoch since when activities wait and nobody takes them; None: somebody does.
    nobody_since: int | None = None


def workers_of(
    queues: list[Queue], clients: Mapping[str, RegisteredClient], at_work: Collection[bytes], watch: Watch, at: int
) -> list[Workers]:
    """Workers of these clients, by topic. `at_work`: ids of those of which something has ended lately."""
    by_topic: dict[str, list[Queue]] = {}
    for queue in queues:
        by_topic.setdefault(queue.topic, []).append(queue)
    return [
        _workers(client, of_topic, at_work, watch, at)
        for topic, client in clients.items()
        if (of_topic := by_topic.get(topic))
    ]


def _workers(
    client: RegisteredClient, queues: list[Queue], at_work: Collection[bytes], watch: Watch, at: int
) -> Workers:
    waiting = max(queue.waiting for queue in queues)
    are_there = any(map(_has_members, queues))
    nobody_since = None
    if waiting and not are_there:
        positions = tuple(partition.committed for queue in queues for partition in queue.partitions)
        since = watch.since(("taken", client.id_bytes), positions, at)
        was_ever_read = any(queue.group for queue in queues)
        is_moving = client.id_bytes in at_work or at - since < _STILL_MS
        if not was_ever_read or not is_moving:
            nobody_since = since
    return Workers(
        client_id=client.id_bytes, client=client.name, waiting=waiting, are_there=are_there, nobody_since=nobody_since
    )
