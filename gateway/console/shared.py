"""Readings that all pages share: what is dear is read anew only when it has become old, however many look."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

#: Age from which it is read anew.
_AGE_SECONDS_MAX = 3.0
#: Age up to which pages show it while it is read anew.
SHOWN_SECONDS_MAX = 15.0
#: What takes a second is read every ten: readings take one part in so many of the time.
_PAUSE = 10.0
_KEYS_MAX = 64


class Shared:
    """Readings by key, such as causes by the clients that are seen. Used from one event loop."""

    def __init__(self) -> None:
        self._readings: OrderedDict[object, _Reading] = OrderedDict()

    async def get(
        self, key: object, read: Callable[[], Awaitable[Any]], *, shown_seconds_max: float = SHOWN_SECONDS_MAX
    ) -> tuple[Any, float]:
        """The result, and its age in seconds: nobody waits for a new one while this is younger. What `read` raises."""
        reading = self._readings.pop(key, None) or _Reading()
        self._readings[key] = reading
        while len(self._readings) > _KEYS_MAX:
            self._readings.popitem(last=False)
        return await reading.get(read, shown_seconds_max)


class _Reading:
    def __init__(self) -> None:
        #: The newest reading that has not failed, and when it began.
        self._result: tuple[Any, float] | None = None
        self._next_at = 0.0
        self._task: asyncio.Task[None] | None = None

    async def get(self, read: Callable[[], Awaitable[Any]], shown_seconds_max: float) -> tuple[Any, float]:
        now = time.monotonic()
        if self._task is not None and self._task.done():
            task, self._task = self._task, None
            if task.exception() is not None:
                # Nobody has waited for it: what it shows is not known to be so any more.
                self._result = None
        if self._task is None and (self._result is None or now >= self._next_at):
            self._task = asyncio.create_task(self._read(read))
            # Whoever comes next is told; where nobody comes, it is no error of the loop.
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        if self._task is not None and (self._result is None or now - self._result[1] > shown_seconds_max):
            # One reading for all who wait; whoever goes away does not end it for the others.
            await asyncio.shield(self._task)
        assert self._result is not None, "it was read"
        result, began_at = self._result
        return result, time.monotonic() - began_at

    async def _read(self, read: Callable[[], Awaitable[Any]]) -> None:
        began_at = time.monotonic()
        result = await read()
        lasted = time.monotonic() - began_at
        self._result = result, began_at
        self._next_at = began_at + lasted + max(_AGE_SECONDS_MAX, _PAUSE * lasted)
