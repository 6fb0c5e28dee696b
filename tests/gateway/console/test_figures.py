"""Figures that pages share: nobody waits for a count while there is one that is hardly older."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from backbeat.gateway.console import figures
from backbeat.gateway.console.figures import Counter


class Projection:
    """A projection whose answer takes as long as the test likes."""

    trouble = ""
    has_begun = True

    def __init__(self) -> None:
        self.answers = asyncio.Event()

    async def activities(self, _: float):
        await self.answers.wait()
        return SimpleNamespace(activities=[])

    async def read(self, _):
        return 1


class Engine:
    missing = None
    partitions = 1

    async def missing_partitions(self, _: float) -> list[int]:
        return []


class StandingReader:
    async def read(self) -> None:
        """Nothing is known."""


async def story() -> None:
    projection = Projection()
    projection.answers.set()
    counter = Counter(Engine(), projection, StandingReader())  # type: ignore[arg-type]
    first = await counter.figures()
    assert first is not None
    projection.answers.clear()
    counter._counted_at = time.monotonic() - 5
    async with asyncio.timeout(30):
        assert await counter.figures() is first
    assert counter._counting is not None
    # What is older is waited for.
    counter._counted_at = time.monotonic() - 3_600
    waiting = asyncio.create_task(counter.figures())
    await asyncio.sleep(0)
    projection.answers.set()
    assert (await waiting) is not first


async def start() -> None:
    projection = Projection()
    projection.answers.set()
    projection.has_begun = False
    counter = Counter(Engine(), projection, StandingReader())  # type: ignore[arg-type]
    first = await counter.figures()
    projection.has_begun = True
    second = await counter.figures()
    assert first is not second
    assert await counter.figures() is second


def test_what_was_counted_before_the_search_has_begun_is_counted_anew(monkeypatch):
    monkeypatch.setattr(figures, "_WAIT_SECONDS", 180)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, start()).result()


def test_a_page_does_not_wait_for_a_count(monkeypatch):
    monkeypatch.setattr(figures, "_WAIT_SECONDS", 180)
    # The browser of other tests has a loop in this thread.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, story()).result()
