"""Errors of brokers: which a retry may get over."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from backbeat.schemas.kafka.brokers import RefusedError, UnreachableError, may_pass


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE)), True),
        (KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)), True),
        (KafkaException(KafkaError(KafkaError.OFFSET_NOT_AVAILABLE)), True),
        (KafkaException(KafkaError(KafkaError.UNKNOWN_LEADER_EPOCH)), True),
        (KafkaException(KafkaError(KafkaError.FENCED_LEADER_EPOCH)), True),
        (KafkaException(KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS)), True),
        (KafkaException(KafkaError(KafkaError._TRANSPORT)), True),
        (UnreachableError("127.0.0.1:1"), True),
        (KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)), False),
        (KafkaException(KafkaError(KafkaError.OFFSET_OUT_OF_RANGE)), False),
        (RefusedError("127.0.0.1:1", "no such user"), False),
    ],
)
def test_leaders_and_coordinators_that_move_are_waited_for(error, passes):
    assert may_pass(error) is passes
