"""Views of the engines: many who ask at once cost one question to each partition."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from backbeat.gateway.engine_client import Engine
from backbeat.gateway.engine_views import EngineViews
from backbeat.gateway.http import errors
from tests.waiting import until_async


class SilentEngine:
    """Three partitions that nobody has."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_end = asyncio.Event()

    def every_partition(self) -> range:
        return range(3)

    async def query(self, *_: Any) -> list[Any]:
        self.asked += 1
        await self.may_end.wait()
        raise errors.unavailable("nobody answers", "Backbeat::Timeout")


async def test_many_who_ask_at_once_cost_one_reading() -> None:
    engine = SilentEngine()
    views = EngineViews(cast("Engine", engine))
    callers = [asyncio.create_task(views.read()) for _ in range(50)]
    await until_async(lambda: engine.asked == 3)
    # Who hangs up ends the reading for nobody else.
    callers[0].cancel()
    engine.may_end.set()
    assert await asyncio.gather(*callers[1:]) == [[None] * 3] * 49
    assert (engine.asked, callers[0].cancelled()) == (3, True)
    assert await views.read() == [None] * 3
    assert engine.asked == 6
