"""Limits of activity types as they are, and how they stand (docs/how-to/limits.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, field

from backbeat.client.limits.rates import rate_text
from backbeat.payload.nouns import Id, Source, Time, noun_of
from backbeat.payload.values import from_json
from backbeat.schemas.messages.limits import Limits, LimitView


class LimitPool(msgspec.Struct, rename="camel", frozen=True):
    """Slots that the nodes of a key share."""

    key_text: Annotated[str, Meta(description="JSON text; empty where the limit has no key"), Source("key")] = field(
        name="key"
    )
    out: Annotated[int, Meta(description="started and not answered")]
    waiting_counts: Annotated[tuple[int, ...], Meta(description="by priority, from 1"), Source("waiting")] = field(
        name="waiting"
    )
    oldest_asked_at: Annotated[Time | None, Meta(description="since when the oldest of them waits")]
    next_start_at: Annotated[Time | None, Meta(description="when the rate allows it; null: it holds nobody up")]

    @property
    def key(self) -> Any:
        """Value of the key; None where the limit has no key, or the key leads nowhere."""
        return from_json(self.key_text.encode()) if self.key_text else None

    @property
    def waiting(self) -> int:
        """Number of nodes that wait for a slot."""
        return sum(self.waiting_counts)

    @property
    def waiting_by_priority(self) -> dict[int, int]:
        """Number of nodes that wait, by priority, 1 to 5."""
        return dict(enumerate(self.waiting_counts, start=1))


def _rate(view: LimitView) -> str | None:
    values = view.limit.values
    return None if values.rate_count is None else rate_text(values.rate_count, values.rate_period_seconds)


class ActivityLimit(msgspec.Struct, rename="camel", frozen=True):
    """The limit of an activity: bounds, and the state of its pools."""

    client_id: Annotated[Id, Source("limit.client_id")]
    activity: Annotated[str, Source("limit.activity")]
    concurrency: Annotated[
        int | None, Meta(description="out at once, at most; null: any number"), Source("limit.values.concurrency")
    ]
    rate: Annotated[str | None, Meta(description="starts in a time, at most; null: any number"), Source(_rate)]
    burst: Annotated[
        int, Meta(description="starts that may come at once after a quiet time"), Source("limit.values.rate_burst")
    ]
    key: Annotated[
        str, Meta(description="a path into the node: each value there has slots of its own"), Source("limit.values.key")
    ]
    aging_seconds: Annotated[
        float,
        Meta(description="who waits this long counts as one priority higher"),
        Source("limit.values.aging_seconds"),
    ]
    paused: Annotated[bool, Source("limit.paused")]
    revision: Annotated[int, Source("limit.revision")]
    pools: Annotated[tuple[LimitPool, ...], Meta(description="those at which somebody is")]
    more: Annotated[bool, Meta(description="there are more pools than these")]

    @property
    def out(self) -> int:
        """Number of nodes that are started and not answered, in all pools."""
        return sum(pool.out for pool in self.pools)

    @property
    def waiting(self) -> int:
        """Number of nodes that wait for a slot, in all pools."""
        return sum(pool.waiting for pool in self.pools)


def merged(views: Sequence[LimitView]) -> LimitView:
    """One limit, from what each partition knows of it: the newest bounds, the pools of all."""
    newest = max((view.limit for view in views), key=lambda limit: limit.revision)
    return LimitView(newest, tuple(pool for view in views for pool in view.pools), any(view.more for view in views))


def read_limits(parts: Iterable[Limits]) -> list[ActivityLimit]:
    """Limits as all partitions together know them, by activity."""
    by_activity: dict[tuple[bytes, str], list[LimitView]] = {}
    for part in parts:
        for view in part.limits:
            by_activity.setdefault((view.limit.client_id, view.limit.activity), []).append(view)
    return [noun_of(ActivityLimit, merged(views)) for _, views in sorted(by_activity.items())]
