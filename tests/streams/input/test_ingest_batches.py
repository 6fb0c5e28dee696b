"""Commands of one batch of signals: produced together, in their order, whatever of them finds no room."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

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


class _Revoking:
    """A consumer whose partition is revoked between the poll of one of its records and what lies behind it."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._polled: list[Any] = []
        self.resumed: list[TopicPartition] = []

    def poll(self, _seconds: float) -> Any:
        if self._polled:
            self._ingest._stopping.set()
            return None
        self._polled.append(Record())
        return self._polled[0]

    def consume(self, *_: Any, **__: Any) -> list[Any]:
        self._ingest._on_revoke(self, [TopicPartition(*PLACE)])  # type: ignore[arg-type]
        return []

    def pause(self, places: list[TopicPartition]) -> None:
        raise AssertionError(f"nothing is full: {places}")

    def resume(self, places: list[TopicPartition]) -> None:
        self.resumed += places


PLACE = ("backbeat.signals.c", 3)


class Record:
    """A record of that partition, behind others that are held."""

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return PLACE[0]

    def partition(self) -> int:
        return PLACE[1]

    def offset(self) -> int:
        return 20

    def value(self) -> bytes:
        return b""


def test_a_record_whose_partition_was_revoked_meanwhile_is_left_to_its_next_owner(ingest):
    """Those before it that were held are dropped: its position would skip them."""
    taken: list[Any] = []
    ingest._take = lambda _consumer, _producer, batch: taken.extend(batch)
    ingest._topics.look = lambda *_: set()
    ingest.assigned.add(PLACE)
    ingest.held.add([Record()])
    consumer = _Revoking(ingest)
    follower = threading.Thread(target=ingest._follow, args=(consumer,), daemon=True)
    follower.start()
    follower.join(60)
    assert not follower.is_alive()
    assert taken == []
    assert [(partition.topic, partition.partition) for partition in consumer.resumed] == [PLACE]
