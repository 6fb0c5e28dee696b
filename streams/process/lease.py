"""Whether it is certain that nobody else has our partitions: a lease on them, kept by the group's heartbeats.

A process that was stopped (SIGSTOP, a paused machine) wakes up with partitions that somebody else may have had for
long. The broker fences its commits, but nobody fences its answers to queries. So it answers, and takes from the log,
only as long as the session that its newest answered heartbeat began cannot be over. A process that takes an instance
id from one that may be alive begins when that one's lease is over for certain.
"""

from __future__ import annotations

import time


class Lease:
    """Written on the consumer's thread, read on the engine's: one number."""

    def __init__(self, session_timeout_seconds: float) -> None:
        self._session_timeout_seconds = session_timeout_seconds
        self._until = 0.0
        self._from = 0.0

    def heard(self, sent_at: float) -> None:
        """The group has answered a heartbeat that was sent at this time (monotonic, seconds).

        The broker's session began after that, so it ends no sooner than what is counted from here.
        """
        self._until = sent_at + self._session_timeout_seconds

    def wait_for_others(self) -> None:
        """Another process with this instance id may have a lease of its own, as long as ours may be, from now on."""
        self._from = time.monotonic() + self._session_timeout_seconds

    def lose(self) -> bool:
        """The group does not know this member any more. Whether it was replaced: its session cannot be over yet."""
        replaced = time.monotonic() < self._until
        self._until = 0.0
        return replaced

    @property
    def heard_ago(self) -> float | None:
        """Seconds since the newest heartbeat that was answered was sent; null: none was."""
        if not self._until:
            return None
        return time.monotonic() - (self._until - self._session_timeout_seconds)

    def is_certain(self) -> bool:
        """Whether the session cannot be over yet."""
        return self._from <= time.monotonic() < self._until
