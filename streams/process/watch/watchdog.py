"""Watchdog: ends a process that hangs, so that another goes on. Only a dead process is noticed at once.

It checks from a thread of its own, and time counts only while that thread comes round: a machine that was asleep, or a
process that was stopped and goes on, has not hung.

    the loop     has not come round for so long
    a restore    has not moved for so long
    a commit     is in its transaction for longer than that may take
    a commit     the log has commands behind what was committed, and the committed position does not move

The last one asks the broker itself for the end of the log: any part between it and the engine's loop may be hanging.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

logger = logging.getLogger(__name__)

_TICK_SECONDS = 0.25
#: A longer tick counts as this: the process did not run.
_TICK_SECONDS_MAX = 1.0


class Standing:
    """Times since the last change of several positions, by the caller's clock."""

    def __init__(self) -> None:
        self._seen: dict[Hashable, tuple[object, float]] = {}

    def look(self, positions: Mapping[Hashable, object], now: float) -> dict[Hashable, float]:
        """Seconds since the last change of each position. Missing positions are dropped."""
        seen: dict[Hashable, tuple[object, float]] = {}
        for key, position in positions.items():
            last = self._seen.get(key)
            seen[key] = last if last is not None and last[0] == position else (position, now)
        self._seen = seen
        return {key: now - since for key, (_, since) in seen.items()}


class Watched(NamedTuple):
    """Positions that have to move, and the longest time without a change."""

    name: str  #: in the reason: "the restore of partition"
    positions: Callable[[], Mapping[Hashable, object]]
    seconds_max: float


class Watchdog:
    """Checks all watched positions; `ended` is called once, on its thread, with the reason."""

    def __init__(
        self, watched: list[Watched], ended: Callable[[str], None], *, tick_seconds: float = _TICK_SECONDS
    ) -> None:
        self._watched = [(item, Standing()) for item in watched]
        self._ended = ended
        self._tick_seconds = tick_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._awake = 0.0
        #: reasons to restart the process; empty: it works
        self.reasons: list[str] = []

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stopping.set()

    def _run(self) -> None:
        looked_at = time.monotonic()
        while not self._stopping.wait(self._tick_seconds):
            now = time.monotonic()
            self.look(min(now - looked_at, _TICK_SECONDS_MAX))
            looked_at = now
            if self.reasons:
                self._ended("; ".join(self.reasons))
                return

    def look(self, seconds: float) -> None:
        """Check all positions, `seconds` after the last check."""
        self._awake += seconds
        reasons = []
        for watched, standing in self._watched:
            for key, stood in standing.look(watched.positions(), self._awake).items():
                if stood > watched.seconds_max:
                    name = watched.name if key is None else f"{watched.name} {key}"
                    reasons.append(f"{name} has not moved for {stood:.0f} s (the most is {watched.seconds_max:g} s)")
        self.reasons = reasons
