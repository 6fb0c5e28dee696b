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
    """The slots of one key."""

    __slots__ = ("_view",)

    def __init__(self, view: PoolView) -> None:
        self._view = view

    @property
    def key(self) -> Any:
        """The key's value; None where the limit has no key, or the key leads nowhere."""
        return from_json(self._view.key.encode()) if self._view.key else None

    @property
    def out(self) -> int:
        """Nodes that are started and not answered."""
        return self._view.out

    @property
    def waiting(self) -> int:
        """Nodes that wait for a slot."""
        return sum(self._view.waiting)

    @property
    def waiting_by_priority(self) -> dict[int, int]:
        """The same by priority, 1 to 5."""
        return dict(enumerate(self._view.waiting, start=1))

    @property
    def oldest_asked_at(self) -> datetime | None:
        """Since when the oldest of them waits."""
        return _time(self._view.oldest_asked_at)

    @property
    def next_start_at(self) -> datetime | None:
        """When the rate allows the next start; None: it holds nobody up."""
        return _time(self._view.next_start_at)


@dataclass(frozen=True)
class ActivityLimit:
    """How many nodes of an activity type may be out at once, and how often one may start; and how it stands."""

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
        """Nodes that are started and not answered, in all pools."""
        return sum(pool.out for pool in self.pools)

    @property
    def waiting(self) -> int:
        """Nodes that wait for a slot, in all pools."""
        return sum(pool.waiting for pool in self.pools)


def read_limits(parts: Iterable[Limits]) -> list[ActivityLimit]:
    """The limits as all partitions together know them, by activity."""
    found: dict[tuple[bytes, str], list[LimitView]] = {}
    for part in parts:
        for view in part.limits:
            found.setdefault((view.limit.client_id, view.limit.activity), []).append(view)
    return [_read(views) for _, views in sorted(found.items())]


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
