"""The broker's time, as an engine estimates it: when it begins to count, and what makes it right again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from backbeat.streams.engine.loop import Engine
from backbeat.streams.process.lifecycle import EngineProcess
from backbeat.streams.state.commit import KafkaTransaction
from tests.ports import engine_process
from tests.waiting import until_async

HOUR_MS = 3_600_000
BROKER_MS = 1_800_000_000_000


#: A host whose clock is an hour ahead.
AHEAD = SimpleNamespace(monotonic=lambda: 7.0, time=lambda: (BROKER_MS + HOUR_MS) / 1000)


class _Report:
    """An acknowledgement, as librdkafka reports it."""

    def offset(self) -> int:
        return 5

    def partition(self) -> int:
        return 0

    def timestamp(self) -> tuple[int, int]:
        return 2, BROKER_MS


async def _fired_at(process: EngineProcess, fired: list[int]) -> list[int]:
    """With which time a round of the engine's loop fires the timers that are due."""
    fired.clear()
    rounds = process.rounds
    ticking = asyncio.create_task(process.tick())
    await until_async(lambda: process.rounds > rounds + 1 or ticking.done())
    ticking.cancel()
    return fired[:1]


async def test_no_timer_fires_by_the_hosts_clock(tmp_path):
    fired: list[int] = []

    class Loop(Engine):
        def fire_timers(self, now: int) -> int:
            fired.append(now)
            return 0

    process = engine_process(tmp_path, host_clock=AHEAD, loop=Loop)
    assert process.clock.now() == BROKER_MS + HOUR_MS
    assert await _fired_at(process, fired) == []
    process.clock.sample(BROKER_MS)
    assert await _fired_at(process, fired) == [BROKER_MS]


def test_the_sample_is_taken_when_the_acknowledgement_is_seen_not_when_the_commit_is_over():
    samples: list[int] = []
    transaction = KafkaTransaction("127.0.0.1:1", "t", 10.0, samples.append)
    transaction._reported(None, _Report())
    assert samples == [BROKER_MS]
