"""Times in which the engine answers commands: whether they are much longer than they were at best."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

#: Share of the newest answer in the mean.
_SHARE = 0.1
#: Answers are slow above this multiple of the quickest, and so much more.
_TIMES = 2.0
_FREE_SECONDS = 0.01
#: The quickest is that of so many spans.
_SPAN_SECONDS = 10.0
_SPANS = 6


class AnswerTimes:
    """Times of one gateway's commands, whoever has sent them. Used from one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._mean_seconds = 0.0
        #: begin of each span, and its quickest answer
        self._spans: deque[tuple[float, float]] = deque(maxlen=_SPANS)

    def note(self, seconds: float) -> None:
        """Note how long an answer took."""
        now = self._clock()
        if not self._spans:
            self._mean_seconds = seconds
        self._mean_seconds += _SHARE * (seconds - self._mean_seconds)
        if not self._spans or now - self._spans[-1][0] >= _SPAN_SECONDS:
            self._spans.append((now, seconds))
        elif seconds < self._spans[-1][1]:
            self._spans[-1] = (self._spans[-1][0], seconds)

    @property
    def is_slow(self) -> bool:
        """True while answers take much longer than at best: others wait in front of the engine, too."""
        if not self._spans:
            return False
        quickest_seconds = min(seconds for _, seconds in self._spans)
        return self._mean_seconds > _TIMES * quickest_seconds + _FREE_SECONDS
