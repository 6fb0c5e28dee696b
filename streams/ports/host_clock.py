"""Port of this host's clocks: the module `time`, or the simulator's."""

from __future__ import annotations

from typing import Protocol


class HostClock(Protocol):
    """The clocks of this host. Neither is the broker's time (`kafka.clock`)."""

    def monotonic(self) -> float:
        """Seconds since some moment; never steps back."""

    def time(self) -> float:
        """Seconds since the epoch; may be wrong, and step."""
