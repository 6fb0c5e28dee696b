"""Watch: a thread that samples load and metrics, compares them with the bounds in force, and keeps the curves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from backbeat.compose.drill.load.account import Account
from backbeat.compose.drill.watch.bounds import TIME, Anomaly, Bound, Guard, Sample
from backbeat.compose.drill.watch.scrape import Scrape

#: An anomaly is seen, and its fault told to end, within two of these.
SAMPLE_SECONDS = 0.5


class Watch:
    """Samples from `start()` to `stop()`; each has its time (monotonic seconds) as the figure `at`."""

    def __init__(self, account: Account, scrape: Scrape) -> None:
        self.samples: list[Sample] = []
        self.error: BaseException | None = None
        self._account = account
        self._scrape = scrape
        self._guard: Guard | None = None
        self._alarm: Callable[[Anomaly], None] = lambda _: None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def stop(self) -> None:
        """Sample no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._scrape.close()

    def guard(self, bounds: Sequence[Bound], alarm: Callable[[Anomaly], None]) -> None:
        """Call `alarm`, once, with the first figure beyond one of the bounds; until another call, or `release`."""
        self._alarm = alarm
        self._guard = Guard(bounds)

    def release(self) -> None:
        """Compare with nothing any more."""
        self._guard = None

    def between(self, begin: float, end: float) -> list[Sample]:
        """The samples of a span."""
        return [sample for sample in self.samples if begin <= sample[TIME] < end]

    def _run(self) -> None:
        now = time.monotonic()
        try:
            while not self._stopping.wait(max(0.0, now + SAMPLE_SECONDS - time.monotonic())):
                now = time.monotonic()
                self._account.read()
                sample = {TIME: now, **self._account.sample(), **self._scrape.sample()}
                self.samples.append(sample)
                self._compare(sample)
        except BaseException as error:
            self.error = error
            raise

    def _compare(self, sample: Sample) -> None:
        guard = self._guard
        anomaly = None if guard is None else guard.look(sample)
        if anomaly is not None and guard is self._guard:
            self._guard = None
            self._alarm(anomaly)
