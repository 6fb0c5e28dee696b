"""Distributions that a process keeps of its own work: how long, how many. Given out by `metrics`."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence

from backbeat.streams.engine.ports import Snapshot

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
        """One more value; a bound belongs to the bucket below it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """As Prometheus has it: (upper bound, how many values up to there), the last one without a bound."""
        done = 0
        found = []
        for bound, count in zip([*map(str, map(float, self.bounds)), "+Inf"], list(self.counts), strict=True):
            done += count
            found.append((bound, float(done)))
        return found


class WorkFigures:
    """Of the commands that were applied, noted once a batch."""

    def __init__(self, now: Callable[[], int]) -> None:
        #: the broker's time, milliseconds since the epoch
        self._now = now
        self.busy_seconds = 0.0
        self.batch_commands = Buckets(COUNTS)
        self.age_seconds = Buckets(SECONDS)

    def note(self, count: int, seconds: float, timestamp: int) -> None:
        """So many commands took so long; the last one had this time."""
        self.busy_seconds += seconds
        self.batch_commands.observe(count)
        self.age_seconds.observe(max(0, self._now() - timestamp) / 1000)


class CommitFigures:
    """Of commits and restores."""

    def __init__(self) -> None:
        self.seconds = Buckets(SECONDS)
        self.steps = {step: Buckets(SECONDS) for step in ("snapshot", "flush", "transact", "write")}
        self.records = Buckets(COUNTS)
        self.bytes = Buckets(BYTES)
        self.restore_seconds = Buckets((*SECONDS, 300.0, 900.0, 3_600.0))
        self.last_ended_at = 0.0  #: seconds since the epoch, by the host
        self.begun = 0
        #: the commit whose transaction goes on, by its number; null: none does
        self.transacting: int | None = None

    def begin(self) -> TimedCommit:
        """A commit begins."""
        self.begun += 1
        return TimedCommit(self)

    def restored(self, seconds: float) -> None:
        """A restore took so long."""
        self.restore_seconds.observe(seconds)


class TimedCommit:
    """One commit while it goes on. Its steps come one after the other, on whatever thread."""

    __slots__ = ("_began_at", "_figures", "_passed_at", "_snapshots")

    def __init__(self, figures: CommitFigures) -> None:
        self._figures = figures
        self._snapshots: Sequence[Snapshot] = ()
        self._began_at = self._passed_at = time.perf_counter()

    def snapshot(self, snapshots: Sequence[Snapshot]) -> None:
        """Step 0 is over: this is what will be written."""
        self._snapshots = snapshots
        self.passed("snapshot")

    def passed(self, step: str) -> None:
        """A step is over."""
        now = time.perf_counter()
        self._figures.steps[step].observe(now - self._passed_at)
        self._passed_at = now
        self._figures.transacting = self._figures.begun if step == "flush" else None
        if step == "write":
            self._weigh()

    def _weigh(self) -> None:
        """Note how much is written. Not on the loop: it takes some milliseconds where there is much."""
        self._figures.records.observe(sum(len(each.records) for each in self._snapshots))
        self._figures.bytes.observe(
            sum(len(key) + len(value or b"") for each in self._snapshots for key, value in each.records)
        )

    def done(self) -> None:
        """It is committed."""
        self._figures.seconds.observe(time.perf_counter() - self._began_at)
        self._figures.last_ended_at = time.time()
