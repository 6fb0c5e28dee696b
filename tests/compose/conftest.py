"""A Kafka without any topic for each test that makes and spoils the system's topics."""

import pytest

from tests.empty_kafka import delete_topics


@pytest.fixture
def empty_kafka(own_kafka):
    delete_topics(own_kafka)
    return own_kafka
