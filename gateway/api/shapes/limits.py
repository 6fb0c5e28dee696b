"""JSON of limits; the API's description is made from these structs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from backbeat.client.limits.rates import rate_text
from backbeat.gateway.http.presentation import id_text, time_text
from backbeat.schemas.messages.limits import LimitView, PoolView
from backbeat.streams.core.limits.slots import KEY_CHARACTERS_MAX, LONGER_THAN_ANY_SECONDS

#: A rate in a time of 366 days at most.
_RATE = (
    "^[1-9][0-9]{0,8}/("
    "([1-9][0-9]{0,5})?s"
    "|([1-9][0-9]{0,4}|[1-4][0-9]{5}|5[01][0-9]{4}|52[0-6][0-9]{3}|5270[0-3][0-9]|527040)?min"
    "|([1-9][0-9]{0,2}|[1-7][0-9]{3}|8[0-6][0-9]{2}|87[0-7][0-9]|878[0-4])?h"
    "|([1-9][0-9]?|[12][0-9]{2}|3[0-5][0-9]|36[0-6])?d"
    ")$"
)
_KEY = "^((subject|metadata|client_data)(\\.[^.\\[\\]]+|\\[[0-9]{1,6}\\])*)?$"
_COUNT_MAX = 2**31 - 1


class Pool(msgspec.Struct, rename="camel"):
    """The slots of one key."""

    key: Annotated[str, Meta(description="JSON text; empty where the limit has no key")]
    out: Annotated[int, Meta(description="started and not answered")]
    waiting: Annotated[tuple[int, ...], Meta(description="by priority, from 1")]
    oldest_asked_at: Annotated[str | None, Meta(description="since when the oldest of them waits")]
    next_start_at: Annotated[str | None, Meta(description="when the rate allows it; null: it holds nobody up")]


class Limit(msgspec.Struct, rename="camel"):
    """The limit of an activity: bounds, and the state of its pools."""

    client_id: str
    activity: str
    concurrency: Annotated[int | None, Meta(description="out at once, at most; null: any number")]
    rate: Annotated[str | None, Meta(description="starts in a time, at most; null: any number")]
    burst: Annotated[int, Meta(description="starts that may come at once after a quiet time")]
    key: Annotated[str, Meta(description="a path into the node: each value there has slots of its own")]
    aging_seconds: Annotated[float, Meta(description="who waits this long counts as one priority higher")]
    paused: bool
    revision: int
    pools: tuple[Pool, ...]
    more: Annotated[bool, Meta(description="there are more pools than these")]


class NewLimit(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The bounds of an activity from now on; those left out are none."""

    concurrency: Annotated[
        Annotated[int, Meta(ge=1, le=_COUNT_MAX)] | None, Meta(description="out at once, at most")
    ] = None
    rate: Annotated[
        Annotated[str, Meta(pattern=_RATE)] | None,
        Meta(description="starts in a time, at most: 5/s, 100/min, 1000/h, 10/30s"),
    ] = None
    burst: Annotated[
        Annotated[int, Meta(ge=1, le=_COUNT_MAX)] | None,
        Meta(description="starts that may come at once after a quiet time (1)"),
    ] = None
    key: Annotated[
        Annotated[str, Meta(pattern=_KEY, max_length=KEY_CHARACTERS_MAX)] | None,
        Meta(description="a path into the node, as metadata.bank: each value there has slots of its own"),
    ] = None
    aging_seconds: Annotated[
        Annotated[float, Meta(gt=0, le=LONGER_THAN_ANY_SECONDS)] | None,
        Meta(description="who waits this long counts as one priority higher (300)"),
    ] = None
    paused: Annotated[bool | None, Meta(description="whether none starts until it is resumed (as it was)")] = None


def limit_json(views: Sequence[LimitView]) -> Limit:
    """A limit, from the views of all partitions, as the answer's struct."""
    limit = max((view.limit for view in views), key=lambda limit: limit.revision)
    values = limit.values
    return Limit(
        client_id=id_text(limit.client_id),
        activity=limit.activity,
        concurrency=values.concurrency,
        rate=None if values.rate_count is None else rate_text(values.rate_count, values.rate_period_seconds),
        burst=values.rate_burst,
        key=values.key,
        aging_seconds=values.aging_seconds,
        paused=limit.paused,
        revision=limit.revision,
        pools=tuple(_pool(pool) for view in views for pool in view.pools),
        more=any(view.more for view in views),
    )


def _pool(view: PoolView) -> Pool:
    return Pool(
        key=view.key,
        out=view.out,
        waiting=view.waiting,
        oldest_asked_at=None if view.oldest_asked_at is None else time_text(view.oldest_asked_at),
        next_start_at=None if view.next_start_at is None else time_text(view.next_start_at),
    )
