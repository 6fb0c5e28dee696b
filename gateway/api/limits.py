"""Calls for limits of the caller's activities: concurrency and rate (docs/how-to/limits.md)."""

from __future__ import annotations

import asyncio

from aiohttp.web import Response

from backbeat.client.limits.rates import read_rate
from backbeat.client.limits.spread import wait_until_known
from backbeat.client.limits.views import ActivityLimit, merged
from backbeat.errors import InvalidParameters, Timeout
from backbeat.gateway import engine_calls
from backbeat.gateway.api.redaction import redacted
from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call, answer
from backbeat.payload.nouns import json_writer
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import ChangeLimit
from backbeat.schemas.messages.limits import Limits, LimitValues, LimitView
from backbeat.schemas.messages.queries import GetLimits

_USUAL = LimitValues()

_limit_json = json_writer(ActivityLimit)


async def index(call: Call) -> Response:
    """GET /limits: all limits of the caller, by activity."""
    return answer([_limit_json(merged(views)) for views in await _all(call)])


async def show(call: Call) -> Response:
    """GET /limits/:activity."""
    activity = call.segment("activity")
    for views in await _all(call):
        if views[0].limit.activity == activity:
            return answer(_limit_json(merged(views)))
    raise errors.not_found(f"The activity {activity[:100]!r} has no limit")


async def put(call: Call) -> Response:
    """PUT /limits/:activity: the bounds from now on."""
    parameters = call.parameters
    rate = parameters.text("rate")
    try:
        count, period = (None, 1.0) if rate is None else read_rate(rate)
    except InvalidParameters as error:
        raise errors.invalid(str(error)) from error
    burst, aging = parameters.whole_number("burst"), parameters.number("aging_seconds")
    values = LimitValues(
        concurrency=parameters.whole_number("concurrency"),
        rate_count=count,
        rate_period_seconds=period,
        rate_burst=_USUAL.rate_burst if burst is None else burst,
        key=parameters.text("key") or "",
        aging_seconds=_USUAL.aging_seconds if aging is None else aging,
    )
    return await _change(call, values, paused=parameters.flag("paused"))


async def remove(call: Call) -> Response:
    """DELETE /limits/:activity: no bounds, no pause."""
    return await _change(call, LimitValues(), paused=False)


async def pause(call: Call) -> Response:
    """PUT /limits/:activity/pause: no activity starts any more."""
    return await _change(call, None, paused=True)


async def resume(call: Call) -> Response:
    """PUT /limits/:activity/resume: waiting activities start, as far as the limit allows."""
    return await _change(call, None, paused=False)


async def _change(call: Call, values: LimitValues | None, *, paused: bool | None) -> Response:
    activity = call.segment("activity")
    route = ids.limit_id(call.user_id, activity)
    target = f"limit of {activity[:100]!r}"
    changed: Limits = await engine_calls.change(
        call, ChangeLimit, route, target, client_id=call.user_id, activity=activity, values=values, paused=paused
    )

    async def ask(partition: int, _: float) -> Limits:
        return await _at(call, partition)

    (view,) = redacted(call, changed).limits
    try:
        await wait_until_known(view.limit, ask, call.engine.partitions, call.engine.answer_seconds)
    except Timeout as error:
        raise errors.unavailable(str(error), "Backbeat::Timeout") from error
    return answer(_limit_json(view))


async def _all(call: Call) -> list[list[LimitView]]:
    """Views of each limit, one of each partition, by activity and client application."""
    views: dict[tuple[str, bytes], list[LimitView]] = {}
    for limits in await asyncio.gather(*(_at(call, partition) for partition in call.engine.every_partition())):
        for view in limits.limits:
            views.setdefault((view.limit.activity, view.limit.client_id), []).append(view)
    return [views[key] for key in sorted(views)]


async def _at(call: Call, partition: int) -> Limits:
    replies: list[Limits] = await engine_calls.ask(
        call, GetLimits, f"limits of partition {partition}", partition=partition
    )
    return redacted(call, Limits(tuple(view for reply in replies for view in reply.limits)))
