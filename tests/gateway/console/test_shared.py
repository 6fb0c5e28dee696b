"""Readings that pages share: nobody waits for a new one while there is one that is hardly older."""

from __future__ import annotations

import asyncio
import gc
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from backbeat.gateway.console.shared import Shared


class Tables:
    """Tables whose readings take as long as the test likes, and fail when it says so."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.answers.set()
        self.readings = 0
        self.are_away = False

    async def read(self) -> int:
        self.readings += 1
        number = self.readings
        await self.answers.wait()
        if self.are_away:
            raise LookupError("the tables are away")
        return number


def age(shared: Shared, seconds: float) -> None:
    """Let so much time pass."""
    reading = shared._readings["causes"]
    number, began_at = reading._result
    reading._result = number, began_at - seconds
    reading._next_at -= seconds


async def story() -> None:
    tables, shared = Tables(), Shared()

    async def number(**options: float) -> int:
        return (await shared.get("causes", tables.read, **options))[0]

    assert [await number(), await number()] == [1, 1]
    age(shared, 5)
    tables.answers.clear()
    async with asyncio.timeout(30):
        # It is read anew meanwhile, once for all.
        assert [await number(), await number()] == [1, 1]
    await asyncio.sleep(0)
    assert tables.readings == 2
    # After one's own change, and where it is older, one waits, for the same reading.
    waiting = asyncio.create_task(number(shown_seconds_max=0.0))
    age(shared, 3_600)
    others = asyncio.create_task(number())
    await asyncio.sleep(0)
    gone = asyncio.create_task(number())
    await asyncio.sleep(0)
    gone.cancel()
    tables.answers.set()
    assert [await waiting, await others, tables.readings] == [2, 2, 2]
    assert (await shared.get("causes", tables.read))[1] < time.monotonic()

    tables.are_away = True
    age(shared, 5)
    assert await number() == 2
    await asyncio.wait([shared._readings["causes"]._task])
    for _ in range(2):
        with pytest.raises(LookupError, match="the tables are away"):
            await number()
    tables.are_away = False
    assert await number() == 6


async def failure_that_nobody_sees() -> list[dict[str, object]]:
    """Errors that the loop has logged."""
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
    tables, shared = Tables(), Shared()
    await shared.get("causes", tables.read)
    tables.are_away = True
    age(shared, 5)
    assert await shared.get("causes", tables.read)
    await asyncio.wait([shared._readings["causes"]._task])
    shared._readings.clear()
    gc.collect()
    return complaints


def test_a_page_does_not_wait_for_a_reading():
    # The browser of other tests has a loop in this thread.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, story()).result()


def test_a_reading_that_has_failed_and_that_nobody_asks_for_is_no_error_of_the_loop():
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, failure_that_nobody_sees()).result() == []
