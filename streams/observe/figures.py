"""Distributions that a process keeps of its own work: how long, how many. Given out by `metrics`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from backbeat.observe.histograms import BYTES, COUNTS, SECONDS, Buckets
from backbeat.streams.engine.ports import Snapshot


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
