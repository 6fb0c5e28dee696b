"""The timers of one partition: which are due, which were sent, and what of them RocksDB must know.

A timer lies in the node's record; the ordered list of them is derived from it, so it is kept locally and never sent
to the changelog. Those due within the horizon are held in memory in a heap; later ones are read from RocksDB when
their time comes near. A timer set and cleared between two commits leaves no trace at all.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator

from backbeat.schemas.messages.commands import TimerFired
from backbeat.schemas.messages.ids import command_id
from backbeat.schemas.messages.values import TimerKind

#: How far ahead timers are held in memory. Much longer than a commit takes, so that what is not in memory is stored.
HORIZON_MS = 60_000
#: TimerFired commands of a partition that may lie in the log, not applied yet.
SENT_MAX = 500

#: When it is due (milliseconds since the epoch), what it is about, its kind.
TimerKey = tuple[int, bytes, int]


def timer_fired(key: TimerKey, number: int) -> TimerFired:
    """The command for a timer that is due. Its id follows from the timer: whoever sends it again sends the same."""
    _, subject_id, kind = key
    identity = command_id(b"timer", subject_id, bytes((kind,)), number.to_bytes(8, "big"))
    return TimerFired(id=identity, subject_id=subject_id, kind=TimerKind(kind), number=number)


class Timers:
    """Set, cleared, due."""

    def __init__(self, scan: Callable[[int, int], Iterable[tuple[TimerKey, int]]]) -> None:
        #: reads the stored timers due in [from, until)
        self._scan = scan
        #: changes since the last snapshot; (number, whether RocksDB may have the key already); null: cleared
        self._changed: dict[TimerKey, tuple[int, bool] | None] = {}
        self._in_flight: dict[TimerKey, tuple[int, bool] | None] = {}
        self._heap: list[TimerKey] = []
        self._armed: dict[TimerKey, int] = {}
        self._sent: set[TimerKey] = set()
        self._armed_until = 0

    def set(self, due: int, subject_id: bytes, kind: int, number: int) -> None:
        """A timer stands."""
        key = (due, subject_id, kind)
        stored = key in self._in_flight or key in self._changed
        self._changed[key] = (number, stored)
        if due < self._armed_until:
            self._arm(key, number)

    def _arm(self, key: TimerKey, number: int) -> None:
        if key not in self._armed:
            heapq.heappush(self._heap, key)
        self._armed[key] = number

    def clear(self, due: int, subject_id: bytes, kind: int) -> None:
        """A timer stands no more."""
        key = (due, subject_id, kind)
        change = self._changed.get(key)
        if change is not None and not change[1]:
            del self._changed[key]
        else:
            self._changed[key] = None
        self._armed.pop(key, None)
        self._sent.discard(key)

    def any_due(self, now: int) -> bool:
        """Whether `due` has anything to do: cheap, for it is asked often."""
        return now + HORIZON_MS // 2 >= self._armed_until or bool(self._heap and self._heap[0][0] <= now)

    def due(self, now: int) -> Iterator[TimerFired]:
        """The commands for the timers that are due and not sent yet, earliest first, as many as the log may hold."""
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
        """Hold the timers due before `until` in memory. What changed since the last commit overrides what is stored."""
        begin = self._armed_until
        found = dict(self._scan(begin, until))
        for layer in (self._in_flight, self._changed):
            for key, change in layer.items():
                if change is None:
                    found.pop(key, None)
                elif begin <= key[0] < until:
                    found[key] = change[0]
        self._armed_until = until
        for key, number in found.items():
            self._arm(key, number)

    def low_water(self) -> int:
        """No stored timer is due before this: where a scan may begin. A hint for the next start."""
        oldest = min(self._sent)[0] if self._sent else self._armed_until
        while self._heap and self._heap[0] not in self._armed:
            heapq.heappop(self._heap)
        return min(oldest, self._heap[0][0]) if self._heap else oldest

    def snapshot(self) -> Iterator[tuple[TimerKey, int | None]]:
        """Move what has changed into flight: number, or null for one that is gone."""
        assert not self._in_flight, "one commit at a time"
        self._in_flight, self._changed = self._changed, {}
        for key, change in self._in_flight.items():
            yield key, None if change is None else change[0]

    def mark_durable(self) -> None:
        """What was in flight is in RocksDB now."""
        self._in_flight = {}

    @property
    def waiting_soon(self) -> int:
        """Timers held in memory, for metrics."""
        return len(self._armed)

    def overdue(self, now: int) -> tuple[int, int | None]:
        """How many timers are due at `now` and were not applied yet, and since when the oldest of them is due."""
        late = [due for due, _, _ in self._sent]
        if self._heap and self._heap[0][0] <= now:
            late += [key[0] for key in self._armed if key[0] <= now]
        return len(late), min(late, default=None)
