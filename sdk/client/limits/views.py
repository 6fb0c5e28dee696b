"""Limits of activity types as they are, and how they stand (docs/how-to/limits.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backbeat.client.limits.rates import rate_text
from backbeat.payload.values import from_json, to_datetime
from backbeat.schemas.messages.limits import Limits, LimitView, PoolView


class LimitPool:
    """Slots that the nodes of a key share."""

    __slots__ = ("_view",)

    def __init__(self, view: PoolView) -> None:
        self._view = view

    @property
    def key(self) -> Any:
        """Value of the key; None where the limit has no key, or the key leads nowhere."""
        return from_json(self._view.key.encode()) if self._view.key else None

    @property
    def out(self) -> int:
        """Number of nodes that are started and not answered."""
        return self._view.out

    @property
    def waiting(self) -> int:
        """Number of nodes that wait for a slot."""
        return sum(self._view.waiting)

    @property
    def waiting_by_priority(self) -> dict[int, int]:
        """Number of nodes that wait, by priority, 1 to 5."""
        return dict(enumerate(self._view.waiting, start=1))

    @property
    def oldest_asked_at(self) -> datetime | None:
        """Time since which the oldest of them waits."""
        return _time(self._view.oldest_asked_at)

    @property
    def next_start_at(self) -> datetime | None:
        """Time at which the rate allows the next start; None: it holds nobody up."""
        return _time(self._view.next_start_at)


@dataclass(frozen=True)
class ActivityLimit:
    """Limit of an activity type (nodes out at once, starts in a time), and how it stands."""

    activity: str
    concurrency: int | None
    rate: str | None  #: as `100/min`
    burst: int
    key: str  #: a path into the node; empty: all share the same slots
    aging_seconds: float
    paused: bool
    pools: tuple[LimitPool, ...]  #: those at which somebody is
    more: bool  #: there are more pools than these

    @property
    def out(self) -> int:
        """Number of nodes that are started and not answered, in all pools."""
        return sum(pool.out for pool in self.pools)

    @property
    def waiting(self) -> int:
        """Number of nodes that wait for a slot, in all pools."""
        return sum(pool.waiting for pool in self.pools)


def read_limits(parts: Iterable[Limits]) -> list[ActivityLimit]:
    """Limits as all partitions together know them, by activity."""
    by_activity: dict[tuple[bytes, str], list[LimitView]] = {}
    for part in parts:
        for view in part.limits:
            by_activity.setdefault((view.limit.client_id, view.limit.activity), []).append(view)
    return [_read(views) for _, views in sorted(by_activity.items())]


def _read(views: list[LimitView]) -> ActivityLimit:
    newest = max((view.limit for view in views), key=lambda limit: limit.revision)
    values = newest.values
    return ActivityLimit(
        activity=newest.activity,
        concurrency=values.concurrency,
        rate=None if values.rate_count is None else rate_text(values.rate_count, values.rate_period_seconds),
        burst=values.rate_burst,
        key=values.key,
        aging_seconds=values.aging_seconds,
        paused=newest.paused,
        pools=tuple(LimitPool(pool) for view in views for pool in view.pools),
        more=any(view.more for view in views),
    )


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else to_datetime(milliseconds)
