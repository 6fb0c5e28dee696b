"""What librdkafka says in a process's log: an outage as one line in ten seconds, not one a try and connection.

Each client of the library tries each broker anew many times a second and says so each time; a process has several
clients. All of them share one clock here, so that an outage is told once, and goes on to be told while it lasts.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

logger = logging.getLogger(__name__)

#: The most often that an outage is told.
EVERY_SECONDS = 10.0
#: What the library calls its lines about connections and requests that fail.
_OUTAGES = frozenset({"FAIL", "ERROR", "CONNECT", "REQTMOUT", "CONNREFUSED", "RESOLVE", "GETPID", "TERMINATE"})


class Outages:
    """Tells what fails at most once in ten seconds, with how much was left out."""

    def __init__(self, every_seconds: float = EVERY_SECONDS) -> None:
        self._every_seconds = every_seconds
        self._lock = threading.Lock()
        self._told_at: float | None = None
        self._left_out = 0

    def tell(self, to: logging.Logger, text: str) -> None:
        """A broker was not there; whoever noticed goes on by itself."""
        with self._lock:
            now = time.monotonic()
            if self._told_at is not None and now - self._told_at < self._every_seconds:
                self._left_out += 1
                return
            self._told_at, left_out, self._left_out = now, self._left_out, 0
        more = f" ({left_out} such lines were left out)" if left_out else ""
        to.warning("Kafka is waited for: %s%s", text, more)


#: Of this process.
OUTAGES = Outages()


class BrokerLog:
    """Where a client of librdkafka writes: in the settings, `"logger": BrokerLog(logger)`."""

    def __init__(self, to: logging.Logger, outages: Outages = OUTAGES) -> None:
        self._to = to
        self._outages = outages

    def log(self, level: int, text: str, *given: Any) -> None:
        """Write a line; the library calls it while it is polled, with the kind of the line first."""
        if given and str(given[0]) in _OUTAGES:
            self._outages.tell(self._to, text % given)
        else:
            self._to.log(level, text, *given)
