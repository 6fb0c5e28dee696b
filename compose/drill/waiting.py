"""Waits for what another process does: no event tells of it, so it is looked at again and again, for a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Interval of the looks.
_LOOK_SECONDS = 0.1


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition holds. False: it did not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True
