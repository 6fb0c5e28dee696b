"""Log of Kafka's clients: an outage as one line in ten seconds, not one a try and connection.

Each client of a library tries each broker many times a second and logs each failure; a process has several clients.
They share one clock here, so an outage is logged once, and again every ten seconds while it lasts.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

logger = logging.getLogger(__name__)

#: Shortest time between two lines about an outage.
EVERY_SECONDS = 10.0
#: Facilities of the library's lines about connections and requests that fail.
_OUTAGES = frozenset({"FAIL", "ERROR", "CONNECT", "REQTMOUT", "CONNREFUSED", "RESOLVE", "GETPID", "TERMINATE"})


class Outages:
    """Rate-limited log of outages, with the number of lines left out."""

    def __init__(self, every_seconds: float = EVERY_SECONDS) -> None:
        self._every_seconds = every_seconds
        self._lock = threading.Lock()
        self._told_at: float | None = None
        self._left_out = 0

    def tell(self, target: logging.Logger, text: str) -> None:
        """Warn of an unreachable broker; the caller retries by itself."""
        with self._lock:
            now = time.monotonic()
            if self._told_at is not None and now - self._told_at < self._every_seconds:
                self._left_out += 1
                return
            self._told_at, left_out, self._left_out = now, self._left_out, 0
        suffix = f" ({left_out} such lines were left out)" if left_out else ""
        target.warning("Kafka is waited for: %s%s", text, suffix)


#: The process's own.
OUTAGES = Outages()


class _AiokafkaLog(logging.Handler):
    """Handler of aiokafka's log: its warnings are of retries, many a second."""

    def emit(self, record: logging.LogRecord) -> None:
        OUTAGES.tell(logger, record.getMessage())


def quiet_aiokafka() -> None:
    """Log aiokafka's retries as outages. May be called again."""
    library = logging.getLogger("aiokafka")
    if not any(isinstance(handler, _AiokafkaLog) for handler in library.handlers):
        library.setLevel(logging.WARNING)
        library.propagate = False
        library.addHandler(_AiokafkaLog())


class BrokerLog:
    """Logger of a librdkafka client: in its settings, `"logger": BrokerLog(logger)`."""

    def __init__(self, target: logging.Logger, outages: Outages = OUTAGES) -> None:
        self._target = target
        self._outages = outages

    def log(self, level: int, text: str, *arguments: Any) -> None:
        """Write a line. The library calls it while it is polled, with the line's facility as the first argument."""
        if arguments and str(arguments[0]) in _OUTAGES:
            self._outages.tell(self._target, text % arguments)
        else:
            self._target.log(level, text, *arguments)
