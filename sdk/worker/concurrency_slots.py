"""Concurrency slots of a worker: at most so many activities run at once in all, and at most so many of one name.

A delivery that must wait for a slot of its name waits there, where it holds up nobody else.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

D = TypeVar("D")


class ActivitySlots(Generic[D]):
    """Slots of the activities of one name."""

    __slots__ = ("limit", "running", "waiting")

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"max_concurrent is {limit}; it must be 1 or more")
        self.limit = limit
        self.running = 0
        self.waiting: deque[D] = deque()


class ConcurrencySlots(Generic[D]):
    """Deliveries in the order in which they came, and the number of those that run."""

    def __init__(self, concurrency: int) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; it must be 1 or more")
        self.concurrency = concurrency
        self.running = 0
        self._ready: deque[tuple[D, ActivitySlots[D]]] = deque()
        self._held: set[ActivitySlots[D]] = set()

    @property
    def free(self) -> int:
        """Number of further deliveries that could begin now."""
        return self.concurrency - self.running - len(self._ready)

    @property
    def waiting(self) -> int:
        """Number of deliveries that have not begun. From any thread."""
        return len(self._ready) + sum(len(activity_slots.waiting) for activity_slots in list(self._held))

    def offer(self, delivery: D, activity_slots: ActivitySlots[D]) -> None:
        """Add a delivery, which runs in its turn."""
        self._ready.append((delivery, activity_slots))

    def take(self) -> tuple[D, ActivitySlots[D]] | None:
        """The next delivery that may run now; it counts as running until it is `done`."""
        while self._ready and self.running < self.concurrency:
            delivery, activity_slots = self._ready.popleft()
            if activity_slots.limit is not None and activity_slots.running >= activity_slots.limit:
                activity_slots.waiting.append(delivery)
                self._held.add(activity_slots)
                continue
            activity_slots.running += 1
            self.running += 1
            return delivery, activity_slots
        return None

    def done(self, activity_slots: ActivitySlots[D]) -> None:
        """Free the slot of a delivery that has ended: the longest waiting one of its name is next."""
        activity_slots.running -= 1
        self.running -= 1
        if activity_slots.waiting:
            self._ready.appendleft((activity_slots.waiting.popleft(), activity_slots))

    def clear(self) -> list[D]:
        """Take out every delivery that has not begun."""
        deliveries = [delivery for delivery, _ in self._ready]
        self._ready.clear()
        for activity_slots in self._held:
            deliveries += activity_slots.waiting
            activity_slots.waiting.clear()
        return deliveries
