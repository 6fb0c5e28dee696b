"""The broker's time, estimated from the timestamps of acknowledged records.

Timers are due by the time that records get (LogAppendTime), not by this host's clock, which may be wrong.
"""

from __future__ import annotations

import time

from backbeat.streams.ports.host_clock import HostClock


class BrokerClock:
    """The broker's time in milliseconds since the epoch. Until the first sample the host's, of no use to timers."""

    def __init__(self, host_clock: HostClock = time) -> None:
        self._monotonic = host_clock.monotonic
        self._offset_ms = host_clock.time() * 1000 - self._monotonic() * 1000
        #: True once there was a sample: timers wait for it.
        self.sampled = False

    def now(self) -> int:
        """The broker's time now, or a few milliseconds less."""
        return int(self._monotonic() * 1000 + self._offset_ms)

    def sample(self, broker_time: int) -> None:
        """Set the clock by the timestamp of a record that was just acknowledged, or was read some time ago.

        A record that was read late makes timers late until the next sample, and none early.
        """
        self._offset_ms = broker_time - self._monotonic() * 1000
        self.sampled = True
