"""Course of what needs a person: a figure a minute, over a day, in memory. After a restart it begins anew."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from backbeat.gateway.people.visitor import Visitor

_MINUTES = 24 * 60
_BARS = 24
_HOUR_MS = 3_600_000


class Curve(NamedTuple):
    """Failing nodes over the last day, as one visitor sees them."""

    #: Most of each hour, the oldest first; it ends with the hour up to now.
    hours: list[int]
    #: Change within the last hour.
    change: int
    #: Milliseconds since the epoch of the first figure.
    since: int


class Course:
    """Numbers of failing nodes by client, minute by minute."""

    def __init__(self) -> None:
        self._minutes: deque[tuple[int, Mapping[bytes, int]]] = deque(maxlen=_MINUTES)

    def note(self, failing: Mapping[bytes, int], at: int | None = None) -> None:
        """Keep a figure, as of now."""
        now = time.time_ns() // 1_000_000 if at is None else at
        self._minutes.append((now, {client_id: nodes for client_id, nodes in failing.items() if nodes}))

    def curve(self, visitor: Visitor, now: int) -> Curve | None:
        """The curve that the visitor sees; None: there is no figure yet."""
        figures = [
            (at, sum(nodes for client_id, nodes in failing.items() if visitor.sees(client_id)))
            for at, failing in self._minutes
            if now - at < _BARS * _HOUR_MS
        ]
        if not figures:
            return None
        hours = [0] * _BARS
        for at, nodes in figures:
            hour = _BARS - 1 - max(0, now - at) // _HOUR_MS
            hours[hour] = max(hours[hour], nodes)
        an_hour_ago = next((nodes for at, nodes in figures if now - at <= _HOUR_MS), figures[-1][1])
        return Curve(hours, figures[-1][1] - an_hour_ago, figures[0][0])
