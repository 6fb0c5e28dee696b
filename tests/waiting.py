"""Waits for what no event tells of: the state of Kafka, or of another process.

Each look costs something. So they are as far apart as an eighth of what was waited already: often at first, when most
waits end, and seldom later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

SECONDS_MAX = 180.0
#: The pause between two looks: at first, and at last.
PAUSE_SECONDS_MIN = 0.02
PAUSE_SECONDS_MAX = 0.25


def pauses(what: str, seconds: float = SECONDS_MAX, pause_max: float = PAUSE_SECONDS_MAX) -> Iterator[float]:
    """How long to wait before each next look. AssertionError with `what`: the time is over."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < seconds:
        yield min(pause_max, max(PAUSE_SECONDS_MIN, waited / 8))
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def until(
    condition: Callable[[], Any], what: str, seconds: float = SECONDS_MAX, *, pause_max: float = PAUSE_SECONDS_MAX
) -> Any:
    """What the condition gives, once that is true. `pause_max`: shorter for what passes by."""
    left = pauses(what, seconds, pause_max)
    while not (found := condition()):
        time.sleep(next(left))
    return found


async def until_async(condition: Callable[[], Any | Awaitable[Any]], seconds: float = SECONDS_MAX) -> Any:
    """The same on an event loop; the condition may have to be awaited."""
    left = pauses("what the test waits for", seconds)
    while True:
        found = condition()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        await asyncio.sleep(next(left))
