"""A partition's records in memory, and its timers in order."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from backbeat.schemas.messages.commands import TimerFired
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.store import MemoryStore
from backbeat.streams.ports.state import ChangelogPosition, Snapshot
from backbeat.streams.state.timers import TimerKey, timer_fired

#: Timers that only remove records: nothing to wait for.
_REMOVALS = (TimerKind.ANSWER, TimerKind.JOB, TimerKind.RETENTION, TimerKind.REFUSAL)
_NOT_OF_NODES = (*_REMOVALS, TimerKind.SCHEDULE)


class Timetable(dict[TimerKey, int]):
    """The timers that stand: (due, subject, kind) -> number. The earliest is known without a search."""

    def __init__(self) -> None:
        super().__init__()
        #: Every timer that was ever set and has not been looked at since; those that were cleared are passed over.
        self._order: list[TimerKey] = []

    def __setitem__(self, key: TimerKey, number: int) -> None:
        heapq.heappush(self._order, key)
        super().__setitem__(key, number)

    def first(self) -> TimerKey | None:
        """The timer that is due next."""
        while self._order and self._order[0] not in self:
            heapq.heappop(self._order)
        return self._order[0] if self._order else None

    def any_due(self, now: int) -> bool:
        """True where a timer is due at `now` (milliseconds since the epoch)."""
        first = self.first()
        return first is not None and first[0] <= now

    def due(self, now: int) -> Iterator[TimerFired]:
        """The commands for the timers that are due, earliest first, each once."""
        while (first := self.first()) is not None and first[0] <= now:
            while self._order and self._order[0] == first:  # It was cleared and set again.
                heapq.heappop(self._order)
            yield timer_fired(first, self[first])

    def next_due(self) -> int | None:
        """Due time of the next timer; those that only remove records do not count."""
        first = self.first()
        if first is None or first[2] not in _REMOVALS:
            return None if first is None else first[0]
        return min((due for due, _, kind in self if kind not in _REMOVALS), default=None)

    def has_one_of_a_node(self) -> bool:
        """True where a node waits for a time. A schedule always does: that is no reason to wait for it."""
        return any(kind not in _NOT_OF_NODES for _, _, kind in self)


class MemoryPartition(MemoryStore):
    """A partition of the engine in memory. It lives as long as the test: nothing is ever committed."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: Timetable = Timetable()
        self.origin: ChangelogPosition | None = None

    @property
    def changed_count(self) -> int:
        """Nothing waits for a commit."""
        return 0

    def is_dirty(self) -> bool:
        """Nothing waits for a commit."""
        return False

    def snapshot(self) -> Snapshot:
        """Never asked for: nothing is committed."""
        raise AssertionError("nothing is committed in memory")

    def write(self, snapshot: Snapshot, origin: ChangelogPosition) -> None:  # noqa: ARG002
        """Never asked for: nothing is committed."""
        raise AssertionError("nothing is committed in memory")

    def mark_durable(self) -> None:
        """Never asked for: nothing is committed."""
        raise AssertionError("nothing is committed in memory")

    def close(self) -> None:
        """Nothing is held."""
