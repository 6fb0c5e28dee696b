"""What the gateway's tests share: one Kafka, one engine and three gateways, and users of each test's own."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backbeat.compose.local.ports import free_port
from backbeat.compose.local.stack import Stack
from backbeat.streams.kafka.registration import add_client
from tests.empty_kafka import delete_topics, stack_on
from tests.gateway.api.door import Door, User

FOLDER = Path(__file__).parent
PARTITIONS = 4
START_SECONDS_MAX = 180.0

#: As the transcripts were taken: docs of the player.
_WAIT = ["--connection-error-wait-seconds", "2"]
_NEEDS_KAFKA = {"stack", "user", "new_user", "anybody", "other"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for the stack is `integration`: a run without Java leaves it out with -m 'not integration'."""
    for item in items:
        if item.path.is_relative_to(FOLDER) and _NEEDS_KAFKA & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="package")
def stack(broker: str) -> Iterator[Stack]:
    """Gateways: 0 as it is, 1 with tokens for signals and decisions, 2 with tokens for every call."""
    delete_topics(broker)
    running = stack_on(
        broker,
        partitions=PARTITIONS,
        http_port=free_port(),
        gateways=[_WAIT, [*_WAIT, "--require-auth-token"], [*_WAIT, "--require-auth-token=all"]],
    )
    try:
        yield running.start(START_SECONDS_MAX)
    finally:
        running.stop()
        delete_topics(broker)


@pytest.fixture
def new_user(stack: Stack) -> Callable[..., User]:
    """Adds a user that nobody else knows, served on its topic: nothing happens but what the test says.

    With endpoints (`activity_endpoint=…`) it is served by webhook.
    """

    def add(**endpoints: str) -> User:
        token = uuid.uuid4().hex
        client = add_client(
            stack.bootstrap_servers,
            f"user-{uuid.uuid4().hex[:12]}",
            token_hash=hashlib.sha256(token.encode()).hexdigest(),
            partitions=PARTITIONS,
            **endpoints,
        )
        return User(Door(stack.http_urls[0], client.id), client, token)

    return add


@pytest.fixture
def user(new_user: Callable[[], User]) -> User:
    return new_user()


@pytest.fixture
def other(new_user: Callable[[], User]) -> User:
    return new_user()


@pytest.fixture
def anybody(stack: Stack) -> Door:
    """Somebody who does not say who."""
    return Door(stack.http_urls[0])
