"""Published signals that were not taken: their count, and why the first was not, until somebody asks."""

from __future__ import annotations

import threading
import time

from backbeat.delivery.kafka import logger
from backbeat.errors import Unavailable

#: Interval of the log lines about them: nobody may ever ask, and an outage has thousands.
_LOG_SECONDS = 10.0


class FailedSignals:
    """Failures of one client. Used from several threads."""

    def __init__(self, taker: str) -> None:
        """`taker`: who should have taken them."""
        self._taker = taker
        self._lock = threading.Lock()
        self._count = 0
        self._first_reason = ""
        self._logged_at: float | None = None

    def note(self, reason: str) -> None:
        """Add one."""
        with self._lock:
            self._count += 1
            self._first_reason = self._first_reason or reason
            now, count = time.monotonic(), self._count
            if self._logged_at is not None and now - self._logged_at < _LOG_SECONDS:
                return
            self._logged_at = now
        logger.warning("%s did not take %d of the published signals so far; the last: %s", self._taker, count, reason)

    def take(self) -> Unavailable | None:
        """The failure of all since the last call; None: there were none."""
        with self._lock:
            count, reason = self._count, self._first_reason
            self._count, self._first_reason = 0, ""
        return Unavailable(f"{self._taker} did not take {count} of the published signals: {reason}") if count else None
