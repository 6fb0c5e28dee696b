"""When all of a piece of work must be done, whatever its steps take."""

from __future__ import annotations

import time


class Deadline:
    """So many seconds from now on. It may be brought forward while the work goes on, by another thread."""

    def __init__(self, seconds: float) -> None:
        self.given_seconds = seconds
        #: monotonic, seconds
        self.began_at = time.monotonic()

    def bring_forward(self, seconds: float) -> None:
        """Be over in so many seconds at the latest."""
        self.given_seconds = min(self.given_seconds, time.monotonic() - self.began_at + seconds)

    def renew(self) -> None:
        """Begin anew: what it was given for could not be done meanwhile, by anybody."""
        self.began_at = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds until it is over, never below 0."""
        return max(0.0, self.began_at + self.given_seconds - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether it is."""
        return self.left <= 0.0
