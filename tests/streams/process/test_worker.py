"""The end of an engine's event loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backbeat.streams.process.faust_app import EngineWorker, make_app
from backbeat.streams.process.settings import EngineSettings


class _Loop(asyncio.SelectorEventLoop):
    """A loop that keeps the pauses that were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def call_at(self, when: float, *given: Any, **named: Any) -> asyncio.TimerHandle:
        self.pauses.append(when - self.time())
        return super().call_at(when, *given, **named)


@pytest.fixture
def worker(tmp_path):
    loop = _Loop()
    asyncio.set_event_loop(loop)
    settings = EngineSettings(instance_id="a", data_dir=tmp_path)
    yield EngineWorker(make_app(settings, 1), loop=loop, console_port=None, redirect_stdouts=False)
    asyncio.set_event_loop(None)


def test_nothing_is_waited_for_where_nothing_is_left(worker):
    worker._shutdown_loop()
    assert worker.loop.is_closed()
    assert worker.loop.pauses == []


def test_a_task_that_is_left_is_cancelled_and_ends_first(worker):
    steps = []

    async def work() -> None:
        steps.append("begun")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            steps.append("ended")

    task = worker.loop.create_task(work())
    worker.loop.run_until_complete(asyncio.sleep(0))
    worker._shutdown_loop()
    assert steps == ["begun", "ended"]
    assert task.cancelled()
