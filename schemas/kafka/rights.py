"""Rights at the brokers: what each part needs, and nothing more, as Kafka's ACLs have it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from backbeat.schemas.kafka.topics import (
    ACTIVITIES_PREFIX,
    AUDIT,
    CLIENTS,
    COMMANDS,
    DEAD_LETTERS,
    HISTORY,
    PAYLOADS,
    PEOPLE,
    QUERIES,
    REPLIES,
    SIGNALS_PREFIX,
    STATE,
    activities_topic,
    signals_topic,
)

_ALL_TOPICS = "backbeat."
#: Ends of names: `backbeat.signals.shop.` is a prefix, `backbeat-worker-shop-share` the share group of `shop`.
_AMBIGUOUS = (".", "-share")


class Part(Enum):
    """Part of an installation that connects to Kafka."""

    ENGINE = "engine"
    GATEWAY = "gateway"
    CONSOLE = "console"  #: a gateway with a console, or one that people call (header Person)
    PROJECTION = "projection"
    WORKER = "worker"
    SHARE_WORKER = "share-worker"  #: a worker with `delivery="share"`
    SERVICE = "service"  #: it publishes signals
    CALLER = "caller"  #: it uses the SDK's client
    OPERATOR = "operator"

    @property
    def is_of_client(self) -> bool:
        """True for a part of one client application."""
        return self in {Part.WORKER, Part.SHARE_WORKER, Part.SERVICE}


class Right(NamedTuple):
    """Operations on a resource, by Kafka's names."""

    resource: str  #: TOPIC, GROUP, TRANSACTIONAL_ID or BROKER (the cluster)
    name: str
    is_prefix: bool  #: true: all names that begin with it
    operations: tuple[str, ...]  #: READ, WRITE, DESCRIBE, …


def rights_of(part: Part, client: str, application_id: str) -> list[Right]:
    """Rights of a part. `client`: of a worker or a service; `application_id`: consumer group of the engines.

    ValueError: rights to the topics and groups of this client would not be its alone.
    """
    if client.endswith(_AMBIGUOUS):
        raise ValueError(
            f"client {client!r} gets no rights of its own: its name ends with {' or '.join(_AMBIGUOUS)}, as the names "
            "of prefixes and of share groups do. What to do: register it by another name"
        )
    return list(_RIGHTS[part](client, application_id))


def _topics(operation: str, *names: str, is_prefix: bool = False) -> Iterator[Right]:
    """A right to the topics of these names, or to all whose names begin with one of them."""
    for name in names:
        yield Right("TOPIC", name, is_prefix, (operation,))


def _group(name: str, *more: str) -> Right:
    return Right("GROUP", name, is_prefix=False, operations=("READ", *more))


def _engine(_: str, application_id: str) -> Iterator[Right]:
    yield from _topics("READ", COMMANDS, QUERIES, STATE, CLIENTS)
    yield from _topics("READ", SIGNALS_PREFIX, is_prefix=True)
    yield from _topics("WRITE", COMMANDS, STATE, HISTORY, REPLIES, DEAD_LETTERS)
    yield from _topics("WRITE", ACTIVITIES_PREFIX, is_prefix=True)
    yield Right("TOPIC", _ALL_TOPICS, is_prefix=True, operations=("DESCRIBE", "DESCRIBE_CONFIGS"))
    yield _group(application_id)
    yield _group(f"{application_id}-ingest")
    yield Right("TRANSACTIONAL_ID", f"{application_id}-", is_prefix=True, operations=("WRITE", "DESCRIBE"))


def _gateway(_: str, application_id: str) -> Iterator[Right]:
    yield from _topics("READ", REPLIES, CLIENTS, STATE, PAYLOADS, DEAD_LETTERS)
    yield from _topics("READ", ACTIVITIES_PREFIX, is_prefix=True)
    yield from _topics("WRITE", COMMANDS, QUERIES, PAYLOADS, DEAD_LETTERS)
    # Where dead letters are sent in again.
    yield from _topics("WRITE", SIGNALS_PREFIX, is_prefix=True)
    yield Right("TOPIC", _ALL_TOPICS, is_prefix=True, operations=("DESCRIBE",))
    yield _group("backbeat-webhooks")
    # The queues that it logs are those of every group.
    yield Right("GROUP", "*", is_prefix=False, operations=("DESCRIBE",))
    del application_id


def _console(client: str, application_id: str) -> Iterator[Right]:
    yield from _gateway(client, application_id)
    yield from _topics("READ", PEOPLE, AUDIT)
    yield from _topics("WRITE", AUDIT)
    yield Right("BROKER", "kafka-cluster", is_prefix=False, operations=("DESCRIBE",))


def _projection(_: str, __: str) -> Iterator[Right]:
    yield from _topics("READ", STATE)


def _worker(client: str, _: str) -> Iterator[Right]:
    yield from _topics("READ", activities_topic(client), CLIENTS, REPLIES)
    yield from _topics("WRITE", COMMANDS, QUERIES, DEAD_LETTERS)
    yield _group(f"backbeat-worker-{client}")


def _share_worker(client: str, application_id: str) -> Iterator[Right]:
    yield from _worker(client, application_id)
    topic = activities_topic(client)
    yield from _topics("WRITE", topic)
    yield from _topics("DESCRIBE_CONFIGS", topic)
    yield _group(f"backbeat-worker-{client}-share", "DESCRIBE_CONFIGS", "ALTER_CONFIGS")


def _service(client: str, _: str) -> Iterator[Right]:
    yield from _topics("WRITE", signals_topic(client))


def _caller(_: str, __: str) -> Iterator[Right]:
    yield from _topics("READ", REPLIES, CLIENTS)
    yield from _topics("WRITE", COMMANDS, QUERIES)


def _operator(_: str, __: str) -> Iterator[Right]:
    yield Right("TOPIC", _ALL_TOPICS, is_prefix=True, operations=("ALL",))
    yield Right("GROUP", "*", is_prefix=False, operations=("DESCRIBE", "READ"))
    yield Right("BROKER", "kafka-cluster", is_prefix=False, operations=("CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"))


_RIGHTS = {
    Part.ENGINE: _engine,
    Part.GATEWAY: _gateway,
    Part.CONSOLE: _console,
    Part.PROJECTION: _projection,
    Part.WORKER: _worker,
    Part.SHARE_WORKER: _share_worker,
    Part.SERVICE: _service,
    Part.CALLER: _caller,
    Part.OPERATOR: _operator,
}
