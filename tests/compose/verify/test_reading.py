"""Reading of the log by the judge: what is no record, and what ends it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from backbeat.compose.verify.log import _taken


def message(code: int | None) -> Any:
    return SimpleNamespace(error=lambda: None if code is None else KafkaError(code), offset=lambda: 7)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (None, (True, 8)),
        (KafkaError._PARTITION_EOF, (False, 7)),
        (KafkaError.NOT_LEADER_FOR_PARTITION, (False, 3)),
        (KafkaError.LEADER_NOT_AVAILABLE, (False, 3)),
    ],
)
def test_a_leader_that_moves_is_waited_for(code, expected):
    assert _taken(message(code), 3) == expected


def test_an_error_that_stays_ends_the_reading():
    with pytest.raises(KafkaException):
        _taken(message(KafkaError.TOPIC_AUTHORIZATION_FAILED), 3)
