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


def pauses(goal: str, seconds: float = SECONDS_MAX, pause_max: float = PAUSE_SECONDS_MAX) -> Iterator[float]:
    """How long to wait before each next look. AssertionError with `what`: the time is over."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < seconds:
        yield min(pause_max, max(PAUSE_SECONDS_MIN, waited / 8))
    raise AssertionError(f"not within {seconds:.0f} s: {goal}")


def until(
    condition: Callable[[], Any], goal: str, seconds: float = SECONDS_MAX, *, pause_max: float = PAUSE_SECONDS_MAX
) -> Any:
    """What the condition gives, once that is true. `pause_max`: shorter for what passes by."""
    left = pauses(goal, seconds, pause_max)
    while not (outcome := condition()):
        time.sleep(next(left))
    return outcome


async def until_async(condition: Callable[[], Any | Awaitable[Any]], seconds: float = SECONDS_MAX) -> Any:
    """The same on an event loop; the condition may have to be awaited."""
    left = pauses("what the test waits for", seconds)
    while True:
        outcome = condition()
        if isinstance(outcome, Awaitable):
            outcome = await outcome
        if outcome:
            return outcome
        await asyncio.sleep(next(left))
