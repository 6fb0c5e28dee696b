"""Limits as the HTTP API says them (docs/reference/http.md), and as the core has them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from backbeat.client.limits.rates import rate_text, read_rate
from backbeat.payload.values import to_id
from backbeat.schemas.messages.commands import ChangeLimit
from backbeat.schemas.messages.limits import Limit, Limits, LimitValues, LimitView, PoolView
from backbeat.transport.http_values import milliseconds
from backbeat.transport.http_words import HttpCall


class _Pool(msgspec.Struct, rename="camel"):
    key: str
    out: int
    waiting: tuple[int, ...]
    oldest_asked_at: datetime | None
    next_start_at: datetime | None


class _Limit(msgspec.Struct, rename="camel"):
    client_id: str
    activity: str
    concurrency: int | None
    rate: str | None
    burst: int
    key: str
    aging_seconds: float
    paused: bool
    revision: int
    pools: tuple[_Pool, ...]
    more: bool


_limits = msgspec.json.Decoder(list[_Limit])


def limit_call(command: ChangeLimit) -> HttpCall:
    """The call that a change of a limit is."""
    path = f"/limits/{quote(command.activity, safe='')}"
    values = command.values
    if values is None:
        return HttpCall("PUT", f"{path}/{'pause' if command.paused else 'resume'}")
    if values == LimitValues() and command.paused is False:
        return HttpCall("DELETE", path)
    said: dict[str, Any] = {
        "burst": values.rate_burst,
        "key": values.key,
        "aging_seconds": values.aging_seconds,
        "concurrency": values.concurrency,
        "paused": command.paused,
    }
    if values.rate_count is not None:
        said["rate"] = rate_text(values.rate_count, values.rate_period_seconds)
    return HttpCall(
        "PUT", path, msgspec.json.encode({name: value for name, value in said.items() if value is not None})
    )


def read_limits(text: bytes) -> Limits:
    """What a gateway says of limits, as the core would say it."""
    return Limits(
        tuple(LimitView(_limit(said), tuple(map(_pool, said.pools)), said.more) for said in _limits.decode(text))
    )


def _limit(said: _Limit) -> Limit:
    count, period = (None, 1.0) if said.rate is None else read_rate(said.rate)
    values = LimitValues(
        concurrency=said.concurrency,
        rate_count=count,
        rate_period_seconds=period,
        rate_burst=said.burst,
        key=said.key,
        aging_seconds=said.aging_seconds,
    )
    return Limit(
        client_id=to_id(said.client_id),
        activity=said.activity,
        values=values,
        paused=said.paused,
        revision=said.revision,
    )


def _pool(said: _Pool) -> PoolView:
    return PoolView(said.key, said.out, said.waiting, _time(said.oldest_asked_at), _time(said.next_start_at))


def _time(at: datetime | None) -> int | None:
    return None if at is None else milliseconds(at)
