"""What may run now: at most so many activities in all, and at most so many of one name.

A job that must wait for its name's turn waits in that name's lane, where it holds up nobody else.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

J = TypeVar("J")


class Lane(Generic[J]):
    """The activities of one name."""

    __slots__ = ("limit", "running", "waiting")

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"max_concurrent is {limit}; it must be 1 or more")
        self.limit = limit
        self.running = 0
        self.waiting: deque[J] = deque()


class Lanes(Generic[J]):
    """Jobs in the order in which they came, and how many run."""

    def __init__(self, concurrency: int) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; it must be 1 or more")
        self.concurrency = concurrency
        self.running = 0
        self._ready: deque[tuple[J, Lane[J]]] = deque()
        self._held: set[Lane[J]] = set()

    @property
    def free(self) -> int:
        """How many more could begin at once."""
        return self.concurrency - self.running - len(self._ready)

    @property
    def waiting(self) -> int:
        """How many have not begun. From any thread."""
        return len(self._ready) + sum(len(lane.waiting) for lane in list(self._held))

    def offer(self, job: J, lane: Lane[J]) -> None:
        """A job that is to run some time."""
        self._ready.append((job, lane))

    def take(self) -> tuple[J, Lane[J]] | None:
        """The next job that may run now; it counts as running until it is `done`."""
        while self._ready and self.running < self.concurrency:
            job, lane = self._ready.popleft()
            if lane.limit is not None and lane.running >= lane.limit:
                lane.waiting.append(job)
                self._held.add(lane)
                continue
            lane.running += 1
            self.running += 1
            return job, lane
        return None

    def done(self, lane: Lane[J]) -> None:
        """A job has ended: the longest waiting one of its name is next."""
        lane.running -= 1
        self.running -= 1
        if lane.waiting:
            self._ready.appendleft((lane.waiting.popleft(), lane))

    def clear(self) -> list[J]:
        """Take out every job that has not begun."""
        jobs = [job for job, _ in self._ready]
        self._ready.clear()
        for lane in self._held:
            jobs += lane.waiting
            lane.waiting.clear()
        return jobs
