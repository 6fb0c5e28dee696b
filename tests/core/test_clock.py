"""The broker's time, as an engine estimates it: when it begins to count, and what makes it right again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from backbeat.streams.kafka import clock as clocks
from backbeat.streams.kafka.clock import BrokerClock
from backbeat.streams.process.lifecycle import EngineProcess
from backbeat.streams.state.commit import KafkaTransaction

HOUR_MS = 3_600_000
BROKER_MS = 1_800_000_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> BrokerClock:
    """As it begins on a host whose clock is an hour ahead."""
    ahead = SimpleNamespace(monotonic=lambda: 7.0, time=lambda: (BROKER_MS + HOUR_MS) / 1000)
    monkeypatch.setattr(clocks, "time", ahead)
    return BrokerClock()


class _Report:
    """An acknowledgement, as librdkafka reports it."""

    def offset(self) -> int:
        return 5

    def partition(self) -> int:
        return 0

    def timestamp(self) -> tuple[int, int]:
        return 2, BROKER_MS


class _Ended(Exception):  # noqa: N818 - ends the endless loop
    """The loop has come round."""


async def _fired_at(clock: BrokerClock, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """With which time a round of the engine's loop fires the timers that are due."""
    process = EngineProcess.__new__(EngineProcess)
    fired: list[int] = []
    engine: Any = SimpleNamespace(
        go_on=lambda: None, fire_timers=fired.append, end_waits=lambda _: None, changed_count=0, partitions={}
    )
    process.engine, process.clock, process.rounds = engine, clock, 0
    process.settings: Any = SimpleNamespace(commit_records_max=1)
    process._paused = set()
    process.deliveries: Any = SimpleNamespace(take_undelivered=lambda: False)

    async def once(_: float) -> None:
        raise _Ended

    monkeypatch.setattr("backbeat.streams.process.lifecycle.asyncio.sleep", once)
    monkeypatch.setattr("backbeat.streams.process.lifecycle.end", lambda *_: None)
    await process.tick()
    return fired


async def test_no_timer_fires_by_the_hosts_clock(clock, monkeypatch):
    assert clock.now() == BROKER_MS + HOUR_MS
    assert await _fired_at(clock, monkeypatch) == []
    clock.sample(BROKER_MS)
    assert await _fired_at(clock, monkeypatch) == [BROKER_MS]


def test_the_sample_is_taken_when_the_acknowledgement_is_seen_not_when_the_commit_is_over():
    samples: list[int] = []
    transaction = KafkaTransaction("127.0.0.1:1", "t", 10.0, samples.append)
    transaction._reported(None, _Report())
    assert samples == [BROKER_MS]
