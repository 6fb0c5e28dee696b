"""`Limits` for code without an event loop: every method of it, waiting for its answer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from backbeat.client.limits.limits import Limits
from backbeat.client.limits.views import ActivityLimit

if TYPE_CHECKING:
    from backbeat.client.blocking.loop import Loop


class PlainLimits:
    """The limits of one client application's activity types (`backbeat.client.limits.limits.Limits`)."""

    def __init__(self, limits: Limits, loop: Loop) -> None:
        self._limits = limits
        self._loop = loop

    def set(
        self,
        activity: str,
        *,
        concurrency: int | None = None,
        rate: str | None = None,
        burst: int = 1,
        key: str = "",
        aging: float | timedelta = 300.0,
    ) -> None:
        """Bound how many nodes of the activity may be out, and how often one may start (`Limits.set`)."""
        self._loop.run(
            self._limits.set(activity, concurrency=concurrency, rate=rate, burst=burst, key=key, aging=aging)
        )

    def remove(self, activity: str) -> None:
        """Let nodes of the activity start as they come; a pause of it ends, too."""
        self._loop.run(self._limits.remove(activity))

    def pause(self, activity: str) -> None:
        """Start no node of the activity until it is resumed; what runs goes on."""
        self._loop.run(self._limits.pause(activity))

    def resume(self, activity: str) -> None:
        """Start those that wait, in their order, as far as the limit allows."""
        self._loop.run(self._limits.resume(activity))

    def list(self) -> list[ActivityLimit]:
        """The limits, by activity, and how they stand."""
        return self._loop.run(self._limits.list())

    def get(self, activity: str) -> ActivityLimit | None:
        """The limit of one activity, and how it stands; None: it has none."""
        return self._loop.run(self._limits.get(activity))
