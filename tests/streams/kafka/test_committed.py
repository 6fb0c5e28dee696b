"""Offsets that groups have committed, of a real broker."""

import logging

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import GroupIdNotFound, KafkaConnectionError, NotCoordinatorForGroupError
from aiokafka.protocol.commit import OffsetFetchRequest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from backbeat.schemas.kafka import topics
from backbeat.schemas.kafka.committed import committed_offsets

pytestmark = pytest.mark.integration


@pytest.fixture
def group(kafka: str, unique: str) -> str:
    """A group that has committed an offset of one partition."""
    topics.ensure_topics(kafka, 2, 1, development=True)
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": unique, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(topics.COMMANDS, 1, 7)], asynchronous=False)
    consumer.close()
    return unique


def test_offsets_are_those_of_each_group(kafka, group):
    offsets = committed_offsets(kafka, [group, f"{group}-unknown"])
    assert offsets == {group: {(topics.COMMANDS, 1): 7}, f"{group}-unknown": {}}


def test_a_coordinator_that_has_moved_is_looked_for_again(kafka, group, monkeypatch):
    lookup, moves = AIOKafkaClient.coordinator_lookup, [NotCoordinatorForGroupError, KafkaConnectionError]

    async def moved(client, kind, key):
        if moves:
            raise moves.pop(0)
        return await lookup(client, kind, key)

    monkeypatch.setattr(AIOKafkaClient, "coordinator_lookup", moved)
    assert committed_offsets(kafka, [group]) == {group: {(topics.COMMANDS, 1): 7}}


def test_a_group_that_is_gone_has_committed_nothing(kafka, group, monkeypatch):
    answer = AIOKafkaClient.send

    async def gone(client, node, request, **given):
        if isinstance(request, OffsetFetchRequest) and request._consumer_group == "gone":
            raise GroupIdNotFound("gone")
        return await answer(client, node, request, **given)

    monkeypatch.setattr(AIOKafkaClient, "send", gone)
    assert committed_offsets(kafka, [group, "gone"]) == {group: {(topics.COMMANDS, 1): 7}, "gone": {}}


def test_the_log_of_whoever_asks_is_left_as_it_is(monkeypatch):
    library = logging.getLogger("aiokafka")
    # A process of ours, such as this one after other tests, has quieted it.
    monkeypatch.setattr(library, "handlers", [])
    monkeypatch.setattr(library, "propagate", True)
    with pytest.raises(KafkaException):
        committed_offsets("127.0.0.1:1", ["group"])
    assert (library.handlers, library.propagate) == ([], True)


def test_brokers_that_are_away_are_an_error_of_kafka():
    with pytest.raises(KafkaException, match="_ALL_BROKERS_DOWN"):
        committed_offsets("127.0.0.1:1", ["group"])
