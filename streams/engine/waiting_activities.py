"""Activities of unknown clients: they wait until the registry is read; nothing else waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from backbeat.streams.core import effects as fx


class WaitingActivities:
    """A queue of activities; those of one client stay in order."""

    def __init__(self) -> None:
        self._waiting: deque[fx.Dispatch | fx.Notify] = deque()
        self._clients: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def has_of(self, client_id: bytes) -> bool:
        """True when a client has waiting activities: a new one must not overtake them."""
        return client_id in self._clients

    def add(self, effect: fx.Dispatch | fx.Notify) -> None:
        """Add an activity."""
        self._waiting.append(effect)
        self._clients.add(effect.node.user_id)

    def take(self, count: int) -> Iterator[fx.Dispatch | fx.Notify]:
        """Remove and return the oldest, `count` at most."""
        for _ in range(min(count, len(self._waiting))):
            yield self._waiting.popleft()
        self._clients = {effect.node.user_id for effect in self._waiting}

    def clear(self) -> None:
        """Drop all activities."""
        self._waiting.clear()
        self._clients.clear()
