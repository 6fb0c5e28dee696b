"""Timers of one partition: due, sent, and to be written to RocksDB.

A timer is part of its subject's record; the ordered list follows from the records, so it is local and never in the
changelog. Timers due within the horizon are in a heap in memory; later ones are read from RocksDB as their time comes
near, and where very many are due at once, some thousands at a time, earliest first. A timer set and cleared between two
commits is never written.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from backbeat.schemas.messages.commands import TimerFired
from backbeat.schemas.messages.ids import command_id
from backbeat.schemas.messages.values import TimerKind

#: Horizon of the timers in memory. Much longer than a commit, so that every timer beyond it is stored.
HORIZON_MS = 60_000
#: Timers that are read at once, at most, and only while fewer are in memory: after an outage a million may be due.
#: Those of one millisecond are read together, however many they are.
READ_MAX = 10_000
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

    def __init__(self, scan: Callable[[int, int], Iterable[tuple[TimerKey, int]]], *, read_max: int = READ_MAX) -> None:
        #: reads the stored timers due in [from, until), in the order of their keys
        self._scan = scan
        self._read_max = read_max
        #: changes since the last snapshot: number, and true when RocksDB may have the key; null: cleared
        self._changed: dict[TimerKey, tuple[int, bool] | None] = {}
        self._in_flight: dict[TimerKey, tuple[int, bool] | None] = {}
        self._heap: list[TimerKey] = []
        self._armed: dict[TimerKey, int] = {}
        self._sent: set[TimerKey] = set()
        #: every timer due before this is armed or sent, none of those due from then on
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
        return self._is_load_near(now) or bool(self._heap and self._heap[0][0] <= now)

    def _is_load_near(self, now: int) -> bool:
        """True where more timers are to be loaded; not while enough of them wait, which are all due earlier."""
        return now + HORIZON_MS // 2 >= self._armed_until and len(self._armed) < self._read_max

    def due(self, now: int) -> Iterator[TimerFired]:
        """Commands for the timers that are due and not sent yet, earliest first, up to SENT_MAX in the log."""
        while True:
            if self._is_load_near(now):
                self._load(now + HORIZON_MS)
            while self._heap and self._heap[0][0] <= now and len(self._sent) < SENT_MAX:
                key = heapq.heappop(self._heap)
                number = self._armed.pop(key, None)
                if number is None:
                    continue
                self._sent.add(key)
                yield timer_fired(key, number)
            if self._armed_until > now or len(self._sent) >= SENT_MAX:
                return
            # All that were loaded are sent, and of those behind them some may be due, too.

    def _load(self, until: int) -> None:
        """Load the timers due before `until`, or the first `read_max` of them and no part of a millisecond.

        Changes since the last commit override stored ones.
        """
        begin = self._armed_until
        stored = list(islice(self._scan(begin, until), self._read_max + 1))
        if len(stored) > self._read_max:
            first_due, last_due = stored[0][0][0], stored[-1][0][0]
            if first_due < last_due:
                until = last_due
            else:
                until = last_due + 1
                stored = list(self._scan(begin, until))
        numbers = {key: number for key, number in stored if key[0] < until}
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
        """Count of the timers in memory that are due and not applied yet, and the earliest due time; null: none is."""
        late = [due for due, _, _ in self._sent]
        if self._heap and self._heap[0][0] <= now:
            late += [key[0] for key in self._armed if key[0] <= now]
        return len(late), min(late, default=None)
