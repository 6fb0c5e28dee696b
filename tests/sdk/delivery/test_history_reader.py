"""The reader of the history topic where Kafka goes away; what it reads of a real one: tests/gateway/api."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from backbeat.delivery import history_reader
from backbeat.delivery.change_feed import ChangeFeed, Subscription
from backbeat.delivery.history_reader import HistoryReader
from backbeat.errors import Unavailable
from backbeat.schemas.kafka.topics import HISTORY
from tests.waiting import until

#: OTHER is in another partition than the two.
WORKFLOW, NEIGHBOUR, OTHER = b"w" * 16, b"n" * 16, b"o" * 16


class Kafka:
    """A topic of one partition with any number of records, whose brokers may be away."""

    def __init__(self) -> None:
        self.end = 5
        self.is_away = False
        #: offset by partition of each assignment
        self.assignments: list[dict[int, int]] = []

    def consumer(self, *_: Any) -> Kafka:
        self._assigned: list[Any] = []
        return self

    def list_topics(self, *_: Any) -> Any:
        self._answer()
        return SimpleNamespace(topics={HISTORY: SimpleNamespace(partitions={0: None, 1: None}, error=None)})

    def get_watermark_offsets(self, *_: Any, **__: Any) -> tuple[int, int]:
        self._answer()
        return 0, self.end

    def assign(self, places: Any) -> None:
        self._assigned = places
        self.assignments.append({place.partition: place.offset for place in places})

    def assignment(self) -> list[Any]:
        return self._assigned

    def consume(self, *_: Any) -> list[Any]:
        threading.Event().wait(0.01)
        return []

    def close(self) -> None:
        pass

    def _answer(self) -> None:
        if self.is_away:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))


@pytest.fixture
def kafka(monkeypatch) -> Kafka:
    topic = Kafka()
    monkeypatch.setattr(history_reader, "make_consumer", topic.consumer)
    monkeypatch.setattr(history_reader, "_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(history_reader.ids, "partition_of", lambda workflow_id, _: int(workflow_id == OTHER))
    return topic


def test_who_follows_misses_nothing_where_somebody_comes_while_kafka_is_away(kafka):
    failures: list[str] = []
    reader = HistoryReader("", lambda _: None, lambda _: None, failures.append)
    reader.follow(frozenset({WORKFLOW}), {})
    until(lambda: kafka.assignments, "it reads")
    kafka.is_away = True
    reader.follow(frozenset({WORKFLOW, OTHER}), {})
    until(lambda: failures, "it cannot read")
    kafka.end, kafka.is_away = 9, False
    until(lambda: len(kafka.assignments) > 1, "it reads again")
    reader.stop()
    assert kafka.assignments == [{0: 5}, {0: 5, 1: 9}]


def test_who_comes_after_nobody_followed_reads_from_the_end(kafka):
    reader = HistoryReader("", lambda _: None, lambda _: None, lambda _: None)
    for end in (5, 9):
        kafka.end = end
        reader.follow(frozenset({WORKFLOW}), {})
        until(lambda end=end: kafka.assignments[-1:] == [{0: end}], "it reads")
        reader.follow(frozenset(), {})
        until(lambda: reader._thread is None, "its thread has ended")
    reader.stop()


def test_what_was_fetched_ahead_is_kept_where_somebody_comes_or_goes(kafka):
    ready: list[dict[bytes, int]] = []
    reader = HistoryReader("", lambda _: None, lambda offsets: ready.append(dict(offsets)), lambda _: None)
    # The last begins further back; each is an assignment or none.
    steps: list[tuple[set[bytes], dict[bytes, int], list[dict[int, int]]]] = [
        ({WORKFLOW}, {}, [{0: 5}]),
        ({WORKFLOW, NEIGHBOUR}, {}, []),
        ({NEIGHBOUR}, {NEIGHBOUR: 5}, []),
        ({NEIGHBOUR, OTHER}, {}, [{0: 5, 1: 5}]),
        ({OTHER}, {}, [{1: 5}]),
        ({OTHER}, {OTHER: 2}, [{1: 2}]),
    ]
    for count, (followed, begins, assignments) in enumerate(steps, start=1):
        kafka.assignments.clear()
        reader.follow(frozenset(followed), begins)
        until(lambda count=count: len(ready) == count, "they are followed")
        assert kafka.assignments == assignments
    reader.stop()
    assert ready[2:4] == [{NEIGHBOUR: 5}, {NEIGHBOUR: 5, OTHER: 5}]


async def test_who_follows_hears_that_its_client_is_closed(kafka):
    feed = ChangeFeed("")
    waiting = asyncio.create_task(Subscription(feed, WORKFLOW, None).take())
    await asyncio.sleep(0)
    await feed.stop()
    with pytest.raises(Unavailable, match="its client was closed"):
        await asyncio.wait_for(waiting, 60)
