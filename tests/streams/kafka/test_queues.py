"""Offsets of the backlog while a partition has no leader."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from backbeat.schemas.kafka.topics import COMMANDS
from backbeat.streams.kafka.queues import _offsets

PARTITIONS = [TopicPartition(COMMANDS, number) for number in range(2)]


def offsets(code: int) -> dict[tuple[str, int], int]:
    """The answer where the first partition gives an error, and the second one offset 9."""
    failed, answered = Future(), Future()
    failed.set_exception(KafkaException(KafkaError(code)))
    answered.set_result(SimpleNamespace(offset=9))
    futures = dict(zip(PARTITIONS, (failed, answered), strict=True))
    return _offsets(SimpleNamespace(list_offsets=lambda *_, **__: futures), PARTITIONS, OffsetSpec.latest())


@pytest.mark.parametrize("code", [KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION])
def test_a_partition_without_a_leader_is_left_out(code):
    assert offsets(code) == {(COMMANDS, 1): 9}


@pytest.mark.parametrize("code", [KafkaError._TRANSPORT, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_brokers_that_do_not_answer_or_refuse_are_an_error(code):
    with pytest.raises(KafkaException):
        offsets(code)
