"""Calls for which a gateway is too busy (429): sent again, later and later, within the caller's timeout."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from backbeat.errors import Unavailable

T = TypeVar("T")

#: Pause before a call is sent again, at first and at most.
_PAUSE_SECONDS = 0.25
_PAUSE_SECONDS_MAX = 10.0


class BusyError(Unavailable):
    """A gateway that has too many calls of this client: it has done nothing of this one."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds

    def __reduce__(self) -> tuple[type[BusyError], tuple[str, float]]:
        return type(self), (str(self), self.retry_after_seconds)


async def until_taken(call: Callable[[float], Awaitable[T]], timeout: float) -> T:
    """The result of a call, which is given the seconds that are left. BusyError: it was not taken in time."""
    ends_at, seconds, pause_seconds = time.monotonic() + timeout, timeout, _PAUSE_SECONDS
    while True:
        try:
            return await call(seconds)
        except BusyError as busy:
            # Never sooner than asked for, and callers not all at once.
            wait_seconds = max(busy.retry_after_seconds, pause_seconds) * random.uniform(1.0, 1.5)  # noqa: S311
            seconds = ends_at - time.monotonic() - wait_seconds
            if seconds <= 0:
                raise
            await asyncio.sleep(wait_seconds)
            pause_seconds = min(_PAUSE_SECONDS_MAX, 2 * pause_seconds)
