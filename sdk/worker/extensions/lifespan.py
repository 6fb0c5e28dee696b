"""Lifespan of a worker: what its application opens before the first activity, and closes after the last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

#: Gives an async context manager; what it yields is `current().state`.
MakeLifespan: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]


class Lifespan:
    """An async context manager that is entered and left in a task of its own, since others begin and end a worker."""

    def __init__(self, make: MakeLifespan) -> None:
        self._make = make
        self._leaving = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> Any:
        """Enter it, and give what it yields. It raises what entering raises."""
        entered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold(entered))
        try:
            await asyncio.wait({self._task, entered}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if not entered.done():
                # What it waits for may not come for hours.
                task, self._task = self._task, None
                task.cancel()
                await asyncio.wait({task})
            raise
        if not entered.done():
            entered.cancel()
            task, self._task = self._task, None
            await task
            raise RuntimeError("a lifespan must yield once")
        return entered.result()

    async def stop(self) -> None:
        """Leave it, if it was entered. It raises what leaving raises."""
        self._leaving.set()
        task, self._task = self._task, None
        if task is not None:
            await task

    async def _hold(self, entered: asyncio.Future[Any]) -> None:
        async with self._make() as state:
            entered.set_result(state)
            await self._leaving.wait()
