"""Deadline shared by the steps of one piece of work."""

from __future__ import annotations

import time

from backbeat.streams.ports.host_clock import HostClock


class Deadline:
    """A deadline, in seconds from its creation. Another thread may bring it forward."""

    def __init__(self, seconds: float, host_clock: HostClock = time) -> None:
        self._monotonic = host_clock.monotonic
        self.given_seconds = seconds
        #: monotonic, seconds
        self.began_at = self._monotonic()

    def bring_forward(self, seconds: float) -> None:
        """Move the deadline to at most `seconds` from now."""
        self.given_seconds = min(self.given_seconds, self._monotonic() - self.began_at + seconds)

    def renew(self) -> None:
        """Begin anew: no broker could be reached meanwhile."""
        self.began_at = self._monotonic()

    @property
    def left(self) -> float:
        """Seconds until the deadline, never below 0."""
        return max(0.0, self.began_at + self.given_seconds - self._monotonic())

    @property
    def is_over(self) -> bool:
        """True when the deadline has passed."""
        return self.left <= 0.0
