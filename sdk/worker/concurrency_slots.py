"""Concurrency slots of a worker: at most so many activities run at once in all, and at most so many of one name.

A job that must wait for a slot of its name waits there, where it holds up nobody else.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

J = TypeVar("J")


class ActivitySlots(Generic[J]):
    """Slots of the activities of one name."""

    __slots__ = ("limit", "running", "waiting")

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"max_concurrent is {limit}; it must be 1 or more")
        self.limit = limit
        self.running = 0
        self.waiting: deque[J] = deque()


class ConcurrencySlots(Generic[J]):
    """Jobs in the order in which they came, and the number of those that run."""

    def __init__(self, concurrency: int) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; it must be 1 or more")
        self.concurrency = concurrency
        self.running = 0
        self._ready: deque[tuple[J, ActivitySlots[J]]] = deque()
        self._held: set[ActivitySlots[J]] = set()

    @property
    def free(self) -> int:
        """Number of further jobs that could begin now."""
        return self.concurrency - self.running - len(self._ready)

    @property
    def waiting(self) -> int:
        """Number of jobs that have not begun. From any thread."""
        return len(self._ready) + sum(len(activity_slots.waiting) for activity_slots in list(self._held))

    def offer(self, job: J, activity_slots: ActivitySlots[J]) -> None:
        """Add a job, which runs in its turn."""
        self._ready.append((job, activity_slots))

    def take(self) -> tuple[J, ActivitySlots[J]] | None:
        """The next job that may run now; it counts as running until it is `done`."""
        while self._ready and self.running < self.concurrency:
            job, activity_slots = self._ready.popleft()
            if activity_slots.limit is not None and activity_slots.running >= activity_slots.limit:
                activity_slots.waiting.append(job)
                self._held.add(activity_slots)
                continue
            activity_slots.running += 1
            self.running += 1
            return job, activity_slots
        return None

    def done(self, activity_slots: ActivitySlots[J]) -> None:
        """Free the slot of a job that has ended: the longest waiting one of its name is next."""
        activity_slots.running -= 1
        self.running -= 1
        if activity_slots.waiting:
            self._ready.appendleft((activity_slots.waiting.popleft(), activity_slots))

    def clear(self) -> list[J]:
        """Take out every job that has not begun."""
        jobs = [job for job, _ in self._ready]
        self._ready.clear()
        for activity_slots in self._held:
            jobs += activity_slots.waiting
            activity_slots.waiting.clear()
        return jobs
