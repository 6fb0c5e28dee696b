"""Readings that all pages share: what is dear is read anew only when it has become old, however many look."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

#: Age from which it is read anew.
_AGE_SECONDS_MAX = 3.0
#: What takes a second is read every ten: readings take one part in so many of the time.
_PAUSE = 10.0
_KEYS_MAX = 64


class Shared:
    """Readings by key, such as causes by the clients that are seen. Used from one event loop."""

    def __init__(self) -> None:
        self._readings: OrderedDict[object, _Reading] = OrderedDict()

    async def get(self, key: object, read: Callable[[], Awaitable[Any]]) -> tuple[Any, float]:
        """The result, and its age in seconds. Raises what `read` raises."""
        reading = self._readings.pop(key, None) or _Reading()
        self._readings[key] = reading
        while len(self._readings) > _KEYS_MAX:
            self._readings.popitem(last=False)
        return await reading.get(read)


class _Reading:
    def __init__(self) -> None:
        self._result: Any = None
        self._began_at = 0.0
        self._next_at = 0.0
        self._lock = asyncio.Lock()

    async def get(self, read: Callable[[], Awaitable[Any]]) -> tuple[Any, float]:
        # Whoever has waited here for another's reading takes what that has given.
        async with self._lock:
            now = time.monotonic()
            if now >= self._next_at:
                self._result = await read()
                self._began_at, lasted = now, time.monotonic() - now
                self._next_at = now + lasted + max(_AGE_SECONDS_MAX, _PAUSE * lasted)
            return self._result, time.monotonic() - self._began_at
