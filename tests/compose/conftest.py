"""A Kafka of their own for tests that make and spoil the system's topics, which all other tests share."""

import pytest
from confluent_kafka.admin import AdminClient

from backbeat.compose.local.kafka import KafkaBroker


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory):
    """The bootstrap servers of a Kafka that only one test module uses."""
    with KafkaBroker(tmp_path_factory.mktemp("own-kafka")) as broker:
        yield broker.bootstrap_servers


@pytest.fixture
def empty_kafka(own_kafka):
    """The same, without any topic."""
    admin = AdminClient({"bootstrap.servers": own_kafka, "log_level": 2})
    names = [name for name in admin.list_topics(timeout=120).topics if not name.startswith("__")]
    if names:
        for deleted in admin.delete_topics(names, operation_timeout=120).values():
            deleted.result()
        while any(name in admin.list_topics(timeout=120).topics for name in names):
            pass
    return own_kafka
