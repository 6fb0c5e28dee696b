"""Signals of a client that floods wait for the engine; those of the others do not."""

from __future__ import annotations

from typing import Any

import pytest

from backbeat.streams.input import held_signals as module
from backbeat.streams.input.held_signals import HeldSignals

TURN_SECONDS = 0.02
ALONE_SECONDS = TURN_SECONDS * module._ALONE_TIMES
HALF = module._IN_FLIGHT // 2


class _Signal:
    def __init__(self, topic: str, offset: int, size: int = 10, partition: int = 0) -> None:
        self._place = topic, partition, offset
        self._value = bytes(size)

    def topic(self) -> str:
        return self._place[0]

    def partition(self) -> int:
        return self._place[1]

    def offset(self) -> int:
        return self._place[2]

    def value(self) -> bytes:
        return self._value


class Ingest:
    """Forwards what it may to an engine that applies commands when it is told to."""

    def __init__(self, turn_seconds: float = TURN_SECONDS) -> None:
        self.now = 100.0
        self.end = 0
        #: position by partition of the commands; those of other engines are not there
        self.applied: dict[int, int] = {0: 0}
        self.held = HeldSignals(self.applied.get, turn_seconds, lambda: self.now)
        self.forwarded: list[tuple[str, int]] = []

    def add(self, topic: str, count: int, **signal: Any) -> None:
        self.held.add([_Signal(topic, offset, **signal) for offset in range(count)])  # type: ignore[misc]

    def read(self, topic: str, count: int, **signal: Any) -> list[str]:
        self.add(topic, count, **signal)
        return self.held.pausable()

    def turn(self, partition: int = 0, round_seconds: float = 0.0) -> int:
        """Forward what may be forwarded now; returns how many signals that were."""
        batch = self.held.take()
        self.now += round_seconds
        self.forwarded += [(str(message.topic()), int(message.offset() or 0)) for message in batch]
        self.end += len(batch)
        if batch:
            self.held.sent(batch, {partition: self.end})
        return len(batch)

    def apply(self, seconds: float) -> None:
        self.now += seconds
        self.applied[0] = self.end


def test_a_client_has_so_much_in_flight_and_the_next_when_that_is_applied():
    ingest = Ingest()
    ingest.read("flood", 500)
    # Two flights: while one is applied, the other is on its way.
    assert [ingest.turn(), ingest.turn(), ingest.turn()] == [HALF, HALF, 0]
    ingest.applied[0] = HALF
    ingest.now += ALONE_SECONDS / 2
    assert ingest.turn() == HALF
    ingest.apply(ALONE_SECONDS / 2)
    ingest.turn()
    assert ingest.forwarded == [("flood", offset) for offset in range(len(ingest.forwarded))]
    assert len(ingest.forwarded) > 3 * HALF


def test_others_pass_a_client_that_floods():
    ingest = Ingest()
    ingest.read("flood", 500)
    ingest.turn()
    ingest.turn()
    ingest.read("shop", 3)
    assert ingest.turn() == 3
    assert ingest.forwarded[-3:] == [("shop", 0), ("shop", 1), ("shop", 2)]
    assert ingest.held.counts() == {"flood": 500 - 2 * HALF, "shop": 0}


def test_beside_others_a_client_that_floods_leaves_them_most_of_the_time():
    ingest = Ingest()
    ingest.read("flood", 1_000)
    ingest.read("shop", 1)
    assert ingest.turn() == HALF + 1
    ingest.apply(TURN_SECONDS)
    assert ingest.turn() == 0
    ingest.now += 2.9 * TURN_SECONDS
    assert ingest.turn() == 0
    ingest.read("shop", 1)
    assert ingest.turn() == 1
    ingest.now += 0.2 * TURN_SECONDS
    assert ingest.turn() > 0
    # Some seconds after the other's last signal it is alone.
    ingest.apply(module._BESIDE_SECONDS)
    ingest.turn()
    ingest.apply(TURN_SECONDS)
    assert ingest.turn() > 0


def test_beside_others_the_time_of_the_round_itself_counts():
    ingest = Ingest()
    counts = []
    for _ in range(20):
        ingest.read("flood", module._HELD_MAX)
        counts.append(ingest.turn(round_seconds=0.2))
        ingest.apply(0.0)
    assert counts[-1] == module._IN_FLIGHT_MAX // 2, "alone it may have much in flight, however long a round takes"
    ingest.read("shop", 1)
    ingest.turn()
    ingest.apply(0.0)
    # The first round after that is the last long one.
    for _ in range(2):
        ingest.turn(round_seconds=0.2)
        ingest.apply(module._REST_SECONDS_MAX)
    assert 0 < ingest.turn(round_seconds=0.2) <= module._IN_FLIGHT_MAX // 10


@pytest.mark.parametrize(("seconds", "at_last"), [(0.0, module._IN_FLIGHT_MAX), (0.9, module._IN_FLIGHT_MIN)])
def test_a_quick_engine_gets_more_at_once_and_a_slow_one_less(seconds, at_last):
    ingest = Ingest()
    count = 0
    for _ in range(60):
        ingest.read("flood", module._HELD_MAX)
        count = ingest.turn()
        ingest.turn()
        if seconds:
            # It is looked at in between, and not applied yet.
            ingest.now += seconds / 2
            assert ingest.turn() == 0
        ingest.apply(seconds / 2)
    assert count == at_last // 2 + at_last % 2


def test_an_engine_that_stands_still_is_not_waited_for():
    ingest = Ingest()
    ingest.read("flood", 500)
    ingest.turn()
    ingest.now += module._APPLIED_SECONDS_MAX + 0.1
    assert 0 < ingest.turn() < HALF


def test_commands_of_another_engine_count_as_applied_after_a_turn():
    ingest = Ingest()
    ingest.read("flood", 500)
    ingest.turn(partition=1)
    ingest.turn(partition=1)
    assert ingest.turn(partition=1) == 0
    ingest.now += 2 * TURN_SECONDS
    assert ingest.turn(partition=1) == HALF


@pytest.mark.parametrize("signal", [{"count": module._HELD_MAX}, {"count": 2, "size": module._HELD_BYTES_MAX // 2}])
def test_a_client_of_which_much_is_held_is_paused_until_half_of_it_is_forwarded(signal):
    ingest = Ingest()
    assert ingest.read("shop", 3) == []
    assert ingest.read("flood", **signal) == ["flood"]
    assert ingest.held.resumable() == []
    # What was fetched before comes all the same; its partition may be a new one.
    assert ingest.read("flood", 1) == ["flood"]
    assert ingest.held.pauses == {"flood": 1}
    while not (resumable := ingest.held.resumable()):
        assert ingest.turn()
        ingest.apply(0.0)
    assert resumable == ["flood"]
    assert ingest.held.resumable() == []


def test_what_is_revoked_or_of_another_topic_now_is_dropped():
    ingest = Ingest()
    ingest.read("flood", 5, partition=1)
    ingest.read("flood", 5, partition=2)
    ingest.read("shop", 5)
    ingest.held.drop_partitions({("flood", 1), ("other", 0)})
    assert ingest.held.counts() == {"flood": 5, "shop": 5}
    ingest.held.drop_topics({"shop", "other"})
    assert ingest.turn() == 5
    ingest.read("flood", 5)
    ingest.held.clear()
    assert ingest.turn() == 0


def test_without_a_bound_everything_is_forwarded():
    ingest = Ingest(turn_seconds=0.0)
    ingest.add("flood", module._HELD_MAX + 100)
    assert ingest.turn() == module._HELD_MAX + 100
    # It is held no more, so nothing that was fetched ahead is thrown away.
    assert ingest.held.pausable() == []
    ingest.read("flood", 1_000)
    assert ingest.turn() == 1_000
