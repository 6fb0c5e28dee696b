"""Course of what needs a person and of what is done: a figure a minute, in memory. After a restart it begins anew.

Of failing nodes it has a day by client; of each activity it has an hour.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar
from uuid import UUID

from backbeat.gateway.people.visitor import Visitor

if TYPE_CHECKING:
    from backbeat.gateway.api.shapes.reports import ActivityFigures

T = TypeVar("T")

_MINUTES_OF_DAY = 24 * 60
_HOURS = 24
_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
#: Parts of an hour, of five minutes each.
_PARTS = 12
_PART_MS = _HOUR_MS // _PARTS
#: Activities of which the last hour is kept; where there are more, of those that fail most.
ACTIVITIES_MAX = 500
#: Client applications of which the last day is kept, those that fail most; the others are counted together.
CLIENTS_MAX = 100
#: No client's id: whoever sees all clients sees these, too.
_OTHERS = b""


class Curve(NamedTuple):
    """Failing nodes over the last day, as one visitor sees them."""

    #: Most of each hour, the oldest first; it ends with the hour up to now.
    hours: list[int]
    #: Failing now, and the change within the last hour.
    now: int
    change: int
    #: Milliseconds since the epoch of the first figure.
    since: int


class Hour(NamedTuple):
    """A number over the last hour."""

    #: Most of each five minutes, the oldest first; 0 before the first figure.
    numbers: list[int]
    lowest: int
    highest: int
    newest: int
    #: Minutes since the first figure, one at least.
    minutes: int

    @property
    def is_whole(self) -> bool:
        """True if it was counted for an hour: figures are a minute apart."""
        return self.minutes >= _HOUR_MS // _MINUTE_MS - 2

    def sentence(self, noun: str) -> str:
        """The numbers in words: `failing, last hour: 3 to 412, now 412`."""
        period = "last hour" if self.is_whole else f"last {self.minutes} min"
        return f"{noun}, {period}: {self.lowest:,} to {self.highest:,}, now {self.newest:,}"


class Results(NamedTuple):
    """An activity in a minute: nodes that fail at its end, and changes within it."""

    failing: int
    done: int
    failed: int


class ActivityHour(NamedTuple):
    """The last hour of an activity."""

    failing: Hour
    done: Hour
    failed: Hour


class Course:
    """Numbers of failing nodes by client, and of results by activity, minute by minute."""

    def __init__(self) -> None:
        self._failing: _Minutes[Counter[bytes]] = _Minutes(_MINUTES_OF_DAY)
        self._results: _Minutes[dict[tuple[bytes, str], Results]] = _Minutes(_HOUR_MS // _MINUTE_MS)

    def note(self, activities: Iterable[ActivityFigures], at: int | None = None) -> None:
        """Keep the figures, as of now; they take the place of earlier ones of the same minute."""
        now = time.time_ns() // 1_000_000 if at is None else at
        results = {
            (UUID(figures.user_id).bytes, figures.activity): Results(
                figures.failing, figures.completed, figures.errored
            )
            for figures in activities
        }
        failing: Counter[bytes] = Counter()
        for (client_id, _), result in results.items():
            if result.failing:
                failing[client_id] += result.failing
        if len(failing) > CLIENTS_MAX:
            largest = Counter(dict(failing.most_common(CLIENTS_MAX)))
            failing = largest + Counter({_OTHERS: failing.total() - largest.total()})
        if len(results) > ACTIVITIES_MAX:
            results = dict(heapq.nlargest(ACTIVITIES_MAX, results.items(), key=lambda item: item[1]))
        self._failing.put(now, failing)
        self._results.put(now, results)

    def curve(self, visitor: Visitor, now: int) -> Curve | None:
        """The curve that the visitor sees; None: there is no figure yet."""
        figures = self._failing_since(now - _HOURS * _HOUR_MS, visitor.sees)
        if not figures:
            return None
        hours = _highest(figures, now, _HOURS, _HOUR_MS)
        an_hour_ago = next((nodes for at, nodes in figures if now - at <= _HOUR_MS), figures[-1][1])
        newest = figures[-1][1]
        return Curve(hours, newest, newest - an_hour_ago, figures[0][0])

    def failing(self, client_ids: Collection[bytes] | None, now: int) -> Hour | None:
        """Failing nodes of these clients (None: of all) in the last hour; None: there is no figure yet."""
        figures = self._failing_since(now - _HOUR_MS, lambda client_id: client_ids is None or client_id in client_ids)
        return _hour(figures, now) if figures else None

    def activity(self, client_id: bytes, name: str, now: int) -> ActivityHour | None:
        """The last hour of an activity; None: it was neither failing nor at work."""
        nothing = Results(0, 0, 0)
        figures = [(at, results.get((client_id, name), nothing)) for at, results in self._results.since(now - _HOUR_MS)]
        if not any(map(any, (result for _, result in figures))):
            return None
        return ActivityHour(
            *(_hour([(at, result[place]) for at, result in figures], now) for place in range(len(nothing)))
        )

    def _failing_since(self, since: int, is_wanted: Callable[[bytes], bool]) -> list[tuple[int, int]]:
        """Times, and failing nodes of the wanted clients then."""
        return [
            (at, sum(nodes for client_id, nodes in failing.items() if is_wanted(client_id)))
            for at, failing in self._failing.since(since)
        ]


class _Minutes(Generic[T]):
    """The newest figures of each minute."""

    def __init__(self, count: int) -> None:
        #: When the minute has begun, when its figures were counted, these.
        self._minutes: deque[tuple[int, int, T]] = deque(maxlen=count)

    def put(self, at: int, figures: T) -> None:
        began_at = at
        if self._minutes and at - self._minutes[-1][0] < _MINUTE_MS:
            began_at, _, _ = self._minutes.pop()
        self._minutes.append((began_at, at, figures))

    def since(self, since: int) -> list[tuple[int, T]]:
        """Figures that were counted later than this, with their times, the oldest first."""
        return [(at, figures) for _, at, figures in self._minutes if at > since]


def _hour(figures: list[tuple[int, int]], now: int) -> Hour:
    numbers = [number for _, number in figures]
    return Hour(
        _highest(figures, now, _PARTS, _PART_MS),
        min(numbers),
        max(numbers),
        numbers[-1],
        max(1, (now - figures[0][0]) // _MINUTE_MS),
    )


def _highest(figures: list[tuple[int, int]], now: int, count: int, length_ms: int) -> list[int]:
    """The highest figure of each of so many lengths of time up to now, the oldest first."""
    highest = [0] * count
    for at, number in figures:
        place = count - 1 - max(0, now - at) // length_ms
        highest[place] = max(highest[place], number)
    return highest
