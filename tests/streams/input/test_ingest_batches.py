"""Commands of one batch of signals: produced together, in their order, whatever of them finds no room."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError

from backbeat.streams.input.ingest import Ingest
from tests.ports import Producer


@pytest.fixture
def ingest() -> Ingest:
    return Ingest("127.0.0.1:1", SimpleNamespace(), failed=lambda _: None)


def commands(ingest: Ingest, *values: bytes) -> list[dict[str, Any]]:
    return [{"key": b"k", "value": value, "callback": lambda *_: None} for value in values]


class Room(Producer):
    """A producer with room for some records, and later for more."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def produce(self, _topic: str, value: bytes | None, *_: Any, **__: Any) -> None:
        if not self.room:
            raise BufferError
        self.room -= 1
        self.sent.append(value)

    def poll(self, _seconds: float) -> int:
        self.room = 1
        return 0


@pytest.mark.parametrize("room", [0, 1, 3, 9])
def test_what_finds_no_room_is_produced_behind_what_does(ingest, room):
    producer = Room(room)
    ingest._push(producer, {0: commands(ingest, b"0", b"1", b"2"), 1: commands(ingest, b"3", b"4")})
    assert producer.sent == [b"0", b"1", b"2", b"3", b"4"]


def test_a_command_that_is_refused_is_reported_as_one_that_the_broker_refuses(ingest):
    reported: list[KafkaError] = []

    class Refusing(Producer):
        def produce_batch(self, _topic: str, messages: list[dict[str, Any]], *_: Any) -> int:
            messages[1]["_error"] = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
            return len(messages) - 1

    batch = commands(ingest, b"0", b"1", b"2")
    batch[1]["callback"] = lambda error, _: reported.append(error)
    ingest._push(Refusing(), {0: batch})
    assert [error.code() for error in reported] == [KafkaError.MSG_SIZE_TOO_LARGE]
