"""Distributions that a process keeps of its own work: how long, how many."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

#: Label under which are counted together those that are too many to be told apart.
OTHER = "other"

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

COUNTS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000)

BYTES = tuple(float(4**power) for power in range(4, 15))  #: 256 bytes to 256 MiB


class Buckets:
    """A histogram for one writer: no lock, and a fraction of a microsecond for each value."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value; a bound belongs to the bucket below it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Prometheus' form: (upper bound, count of values up to there), the last one without a bound."""
        count_so_far = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip([*map(str, map(float, self.bounds)), "+Inf"], list(self.counts), strict=True):
            count_so_far += count
            buckets.append((bound, float(count_so_far)))
        return buckets
