"""Watch: since when something is as it is, over the rounds of a count."""

from __future__ import annotations

from collections.abc import Hashable


class Watch:
    """Values by key, each with the time since which it is the same. What a round does not ask for is forgotten."""

    def __init__(self) -> None:
        self._before: dict[Hashable, tuple[Hashable, int]] = {}
        self._seen: dict[Hashable, tuple[Hashable, int]] = {}

    def begin(self) -> None:
        """Begin a round."""
        self._before, self._seen = self._seen, {}

    def since(self, key: Hashable, value: Hashable, at: int) -> int:
        """Time of the first of the rounds up to this one, which is at `at`, that have all seen this value."""
        value_before, since = self._before.get(key, (None, at))
        if value_before != value:
            since = at
        self._seen[key] = value, since
        return since
