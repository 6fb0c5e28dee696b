"""Ends of partitions on a real Kafka, whose leaders are elected a moment after a topic is made."""

import pytest
from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from backbeat.schemas.kafka.ends import read_ends
from tests.waiting import until

pytestmark = pytest.mark.integration
PARTITIONS = 16


@pytest.fixture
def consumer(kafka, unique):
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": unique})
    yield consumer
    consumer.close()


def test_a_topic_just_made_is_waited_for(kafka, unique, consumer):
    admin = AdminClient({"bootstrap.servers": kafka})
    for number in range(10):
        name = f"{unique}-{number}"
        admin.create_topics([NewTopic(name, PARTITIONS, 1)])
        until(lambda name=name: name in admin.list_topics(timeout=120).topics, "the topic")
        assert [read_ends(consumer, name, partition, 120.0) for partition in range(PARTITIONS)] == [(0, 0)] * PARTITIONS


def test_a_topic_that_is_none_is_an_error(unique, consumer):
    with pytest.raises(KafkaException):
        read_ends(consumer, unique, 0, 0.5)
