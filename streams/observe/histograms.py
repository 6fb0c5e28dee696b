"""Histograms of the engine's work: batches, commits, restores. Exported by `metrics`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from backbeat.observe.histograms import BYTES, COUNTS, SECONDS, Buckets
from backbeat.streams.ports.state import Snapshot


class WorkHistograms:
    """Histograms of applied commands, one observation a batch."""

    def __init__(self, now: Callable[[], int]) -> None:
        #: Broker's time in milliseconds since the epoch.
        self._now = now
        self.busy_seconds = 0.0
        self.batch_commands = Buckets(COUNTS)
        self.age_seconds = Buckets(SECONDS)

    def note(self, count: int, seconds: float, timestamp: int) -> None:
        """Observe a batch: number of commands, seconds it took, timestamp of its last command."""
        self.busy_seconds += seconds
        self.batch_commands.observe(count)
        self.age_seconds.observe(max(0, self._now() - timestamp) / 1000)


class CommitHistograms:
    """Histograms of commits and restores."""

    def __init__(self) -> None:
        self.seconds = Buckets(SECONDS)
        self.steps = {step: Buckets(SECONDS) for step in ("snapshot", "flush", "transact", "write")}
        self.records = Buckets(COUNTS)
        self.bytes = Buckets(BYTES)
        self.restore_seconds = Buckets((*SECONDS, 300.0, 900.0, 3_600.0))
        self.last_ended_at = 0.0  #: seconds since the epoch, by the host's clock
        self.begun = 0
        #: Number of the commit whose transaction is open; None: none is.
        self.transacting: int | None = None

    def begin(self) -> TimedCommit:
        """Begin timing a commit."""
        self.begun += 1
        return TimedCommit(self)

    def restored(self, seconds: float) -> None:
        """Observe a restore."""
        self.restore_seconds.observe(seconds)


class TimedCommit:
    """Timing of one commit. Its steps come one after the other, on any thread."""

    __slots__ = ("_began_at", "_histograms", "_passed_at", "_snapshots")

    def __init__(self, histograms: CommitHistograms) -> None:
        self._histograms = histograms
        self._snapshots: Sequence[Snapshot] = ()
        self._began_at = self._passed_at = time.perf_counter()

    def snapshot(self, snapshots: Sequence[Snapshot]) -> None:
        """End step 0, the snapshot: the records that will be written."""
        self._snapshots = snapshots
        self.passed("snapshot")

    def passed(self, step: str) -> None:
        """End a step."""
        now = time.perf_counter()
        self._histograms.steps[step].observe(now - self._passed_at)
        self._passed_at = now
        self._histograms.transacting = self._histograms.begun if step == "flush" else None
        if step == "write":
            self._weigh()

    def _weigh(self) -> None:
        """Observe the records and bytes written. Not on the loop: a large commit takes milliseconds to sum up."""
        self._histograms.records.observe(sum(len(snapshot.records) for snapshot in self._snapshots))
        self._histograms.bytes.observe(
            sum(len(key) + len(value or b"") for snapshot in self._snapshots for key, value in snapshot.records)
        )

    def done(self) -> None:
        """End the commit."""
        self._histograms.seconds.observe(time.perf_counter() - self._began_at)
        self._histograms.last_ended_at = time.time()
