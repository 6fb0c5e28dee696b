"""Fixtures of every folder: one real Kafka a session, started when the first test asks for it."""

import os
import uuid
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap servers of the one Kafka that is started for all tests of a process."""
    from backbeat.compose.local.kafka import KafkaBroker

    with KafkaBroker(tmp_path_factory.mktemp("kafka")) as one:
        yield one.bootstrap_servers


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> str:
    """A real Kafka's bootstrap servers: what BACKBEAT_TEST_BOOTSTRAP_SERVERS says, else one of our own."""
    return os.environ.get("BACKBEAT_TEST_BOOTSTRAP_SERVERS") or request.getfixturevalue("broker")


@pytest.fixture(scope="module")
def own_kafka(broker: str) -> Iterator[str]:
    """The same Kafka for one module alone: without any topic when it begins, and when the next one does."""
    from tests.empty_kafka import delete_topics

    delete_topics(broker)
    yield broker
    delete_topics(broker)


@pytest.fixture
def unique() -> str:
    """A word that no other test and no earlier run has used: for topics, groups and clients on the shared Kafka."""
    return f"t{uuid.uuid4().hex[:12]}"
