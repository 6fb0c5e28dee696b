"""Timers of one partition: due, sent, and to be written to RocksDB.

A timer is part of its subject's record; the ordered list follows from the records, so it is local and never in the
changelog. Timers due within the horizon are in a heap in memory; later ones are read from RocksDB as their time comes
near. A timer set and cleared between two commits is never written.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator

from backbeat.schemas.messages.commands import TimerFired
from backbeat.schemas.messages.ids import command_id
from backbeat.schemas.messages.values import TimerKind

#: Horizon of the timers in memory. Much longer than a commit, so that every timer beyond it is stored.
HORIZON_MS = 60_000
#: TimerFired commands of a partition in the log that are not applied yet, at most.
SENT_MAX = 500

#: Due time (milliseconds since the epoch), subject id, kind.
TimerKey = tuple[int, bytes, int]


def timer_fired(key: TimerKey, number: int) -> TimerFired:
    """The command for a due timer. Its id follows from the timer, so a repeat has the same id."""
    _, subject_id, kind = key
    identity = command_id(b"timer", subject_id, bytes((kind,)), number.to_bytes(8, "big"))
    return TimerFired(id=identity, subject_id=subject_id, kind=TimerKind(kind), number=number)


class Timers:
    """The timers of one partition."""

    def __init__(self, scan: Callable[[int, int], Iterable[tuple[TimerKey, int]]]) -> None:
        #: reads the stored timers due in [from, until)
        self._scan = scan
        #: changes since the last snapshot: number, and true when RocksDB may have the key; null: cleared
        self._changed: dict[TimerKey, tuple[int, bool] | None] = {}
        self._in_flight: dict[TimerKey, tuple[int, bool] | None] = {}
        self._heap: list[TimerKey] = []
        self._armed: dict[TimerKey, int] = {}
        self._sent: set[TimerKey] = set()
        self._armed_until = 0

    def set(self, due: int, subject_id: bytes, kind: int, number: int) -> None:
        """Set a timer. `due`: milliseconds since the epoch."""
        key = (due, subject_id, kind)
        may_be_stored = key in self._in_flight or key in self._changed
        self._changed[key] = (number, may_be_stored)
        if due < self._armed_until:
            self._arm(key, number)

    def _arm(self, key: TimerKey, number: int) -> None:
        if key not in self._armed:
            heapq.heappush(self._heap, key)
        self._armed[key] = number

    def clear(self, due: int, subject_id: bytes, kind: int) -> None:
        """Clear a timer."""
        key = (due, subject_id, kind)
        change = self._changed.get(key)
        if change is not None and not change[1]:
            del self._changed[key]
        else:
            self._changed[key] = None
        self._armed.pop(key, None)
        self._sent.discard(key)

    def any_due(self, now: int) -> bool:
        """True when `due` may have timers: a cheap check, called often."""
        return now + HORIZON_MS // 2 >= self._armed_until or bool(self._heap and self._heap[0][0] <= now)

    def due(self, now: int) -> Iterator[TimerFired]:
        """Commands for the timers that are due and not sent yet, earliest first, up to SENT_MAX in the log."""
        if now + HORIZON_MS // 2 >= self._armed_until:
            self._load(now + HORIZON_MS)
        while self._heap and self._heap[0][0] <= now and len(self._sent) < SENT_MAX:
            key = heapq.heappop(self._heap)
            number = self._armed.pop(key, None)
            if number is None:
                continue
            self._sent.add(key)
            yield timer_fired(key, number)

    def _load(self, until: int) -> None:
        """Load the timers due before `until`. Changes since the last commit override stored ones."""
        begin = self._armed_until
        numbers = dict(self._scan(begin, until))
        for layer in (self._in_flight, self._changed):
            for key, change in layer.items():
                if change is None:
                    numbers.pop(key, None)
                elif begin <= key[0] < until:
                    numbers[key] = change[0]
        self._armed_until = until
        for key, number in numbers.items():
            self._arm(key, number)

    def low_water(self) -> int:
        """A lower bound of the due times of stored timers: the start of the next process's scan."""
        oldest = min(self._sent)[0] if self._sent else self._armed_until
        while self._heap and self._heap[0] not in self._armed:
            heapq.heappop(self._heap)
        return min(oldest, self._heap[0][0]) if self._heap else oldest

    def snapshot(self) -> Iterator[tuple[TimerKey, int | None]]:
        """Move changed timers into flight, and yield key and number; null: cleared."""
        assert not self._in_flight, "one commit at a time"
        self._in_flight, self._changed = self._changed, {}
        for key, change in self._in_flight.items():
            yield key, None if change is None else change[0]

    def mark_durable(self) -> None:
        """The timers in flight are in RocksDB now."""
        self._in_flight = {}

    @property
    def waiting_soon(self) -> int:
        """Timers held in memory, for metrics."""
        return len(self._armed)

    def overdue(self, now: int) -> tuple[int, int | None]:
        """Count of the timers due at `now` and not applied yet, and the earliest due time; null: none is due."""
        late = [due for due, _, _ in self._sent]
        if self._heap and self._heap[0][0] <= now:
            late += [key[0] for key in self._armed if key[0] <= now]
        return len(late), min(late, default=None)
