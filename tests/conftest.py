"""What tests of every folder share: one real Kafka a session, started when the first test asks for it."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Kafka's bootstrap servers: what BACKBEAT_TEST_BOOTSTRAP_SERVERS says, else one of our own."""
    given = os.environ.get("BACKBEAT_TEST_BOOTSTRAP_SERVERS")
    if given:
        yield given
        return
    from backbeat.compose.local.kafka import KafkaBroker

    data_dir: Path = tmp_path_factory.mktemp("kafka")
    with KafkaBroker(data_dir) as broker:
        yield broker.bootstrap_servers


@pytest.fixture
def unique() -> str:
    """A word that no other test and no earlier run has used: for topics, groups and clients on the shared Kafka."""
    return f"t{uuid.uuid4().hex[:12]}"
