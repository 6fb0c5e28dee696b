"""Activities of clients that nobody knows yet: they wait until the registry is read, and nothing else does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from backbeat.streams.core import effects as fx


class WaitingActivities:
    """In the order in which they came; those of one client stay in order."""

    def __init__(self) -> None:
        self._waiting: deque[fx.Dispatch | fx.Notify] = deque()
        self._clients: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def has_of(self, client_id: bytes) -> bool:
        """Whether a client has some: what comes now for it must not overtake them."""
        return client_id in self._clients

    def add(self, effect: fx.Dispatch | fx.Notify) -> None:
        """One more."""
        self._waiting.append(effect)
        self._clients.add(effect.node.user_id)

    def take(self, count: int) -> Iterator[fx.Dispatch | fx.Notify]:
        """The oldest, so many at most."""
        for _ in range(min(count, len(self._waiting))):
            yield self._waiting.popleft()
        self._clients = {each.node.user_id for each in self._waiting}

    def clear(self) -> None:
        """Forget all of them."""
        self._waiting.clear()
        self._clients.clear()
