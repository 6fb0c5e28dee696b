"""Lease on the assigned partitions, renewed by the group's heartbeats: while it lasts, no other process has them.

A process that was stopped (SIGSTOP, a paused machine) wakes up with partitions that may have had another owner for
long. The broker fences its commits, but not its answers to queries. So it answers, and applies commands, only while the
session of its newest answered heartbeat cannot have ended. A process that takes over an instance id from one that may
be alive begins after that one's lease.
"""

from __future__ import annotations

import time

from backbeat.streams.ports.host_clock import HostClock


class Lease:
    """A lease. Written on the consumer's thread, read on the engine's: one number."""

    def __init__(self, session_timeout_seconds: float, host_clock: HostClock = time) -> None:
        self._monotonic = host_clock.monotonic
        self._session_timeout_seconds = session_timeout_seconds
        self._until = 0.0
        self._from = 0.0

    def heard(self, sent_at: float) -> None:
        """Renew the lease: the group has answered a heartbeat that was sent at this time (monotonic, seconds).

        The broker's session began after that time, so it ends no sooner than the lease.
        """
        self._until = sent_at + self._session_timeout_seconds

    def wait_for_others(self) -> None:
        """Begin the lease one session timeout from now: another holder of this instance id may have one until then."""
        self._from = self._monotonic() + self._session_timeout_seconds

    def lose(self) -> bool:
        """End the lease: the group has no such member. True: it was replaced, since its session cannot have ended."""
        replaced = self._monotonic() < self._until
        self._until = 0.0
        return replaced

    @property
    def heard_ago(self) -> float | None:
        """Age in seconds of the newest answered heartbeat; null: none was answered."""
        if not self._until:
            return None
        return self._monotonic() - (self._until - self._session_timeout_seconds)

    def is_certain(self) -> bool:
        """True while the session cannot have ended."""
        return self._from <= self._monotonic() < self._until
