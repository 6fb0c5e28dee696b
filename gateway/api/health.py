"""Health, heartbeat and counters, for operators and load balancers."""

from __future__ import annotations

import asyncio
import time
from importlib import metadata
from typing import Annotated

import msgspec
from aiohttp.web import Response
from msgspec import Meta

from backbeat.gateway.http.call import Call, answer
from backbeat.payload.nouns import Count, time_text

_ENGINE_SECONDS = 2.0


class Health(msgspec.Struct):
    """The gateway, and what it needs."""

    sha: Annotated[str, Meta(description="the version that runs")]
    time: Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
    status: Annotated[str, Meta(description="OK, or what cannot be reached")]


class Today(msgspec.Struct):
    """Figures of this day, UTC."""

    processed: Count
    failed: Count


class Stats(msgspec.Struct):
    """Figures of the engine and its nodes."""

    latency: Annotated[float, Meta(description="seconds until the slowest part of the engine answers")]
    today: Today
    processed: Annotated[Count, Meta(description="completions")]
    failed: Annotated[Count, Meta(description="client errors")]
    enqueued: Annotated[Count, Meta(description="due, or with clients")]
    scheduled: Annotated[Count, Meta(description="waiting for their time")]
    retry_size: Annotated[Count, Meta(description="waiting for a retry")]


async def health(call: Call) -> Response:
    """GET /health: "OK", or the parts that cannot be reached. Always 200: the gateway itself is there."""
    problems = await _problems(call)
    return answer(Health(_version(), time_text(time.time_ns() // 1_000_000), "; ".join(problems) or "OK"))


async def _problems(call: Call) -> list[str]:
    engine = call.engine
    if engine.missing is not None:
        return [engine.missing]
    problems = []
    silent = await engine.missing_partitions(_ENGINE_SECONDS)
    if silent:
        numbers = ", ".join(map(str, silent))
        problems.append(f"No engine answers for {len(silent)} of {engine.partitions} partitions ({numbers})")
    trouble = call.services.projection.trouble
    if trouble:
        problems.append(f"The search does not follow: {trouble}")
    return problems


async def heartbeat(call: Call) -> Response:
    """GET /heartbeat.txt: 200 if load balancers should send callers here, else 503."""
    if await asyncio.to_thread(lambda: call.services.in_rotation):
        return Response(text="We have a pulse.", content_type="text/plain")
    return Response(text="It's dead, Jim.", content_type="text/plain", status=503)


async def stats(call: Call) -> Response:
    """GET /sidekiq_stats: this system's numbers under the keys of the original."""
    requested_at = time.monotonic()
    await call.engine.missing_partitions(_ENGINE_SECONDS)
    latency = time.monotonic() - requested_at
    counts = await call.services.projection.counts()
    stats = Stats(
        latency=round(latency, 6),
        today=Today(processed=counts.completed_today, failed=counts.errored_today),
        processed=counts.completed,
        failed=counts.errored,
        enqueued=counts.enqueued,
        scheduled=counts.scheduled,
        retry_size=counts.retrying,
    )
    return answer(stats)


def _version() -> str:
    try:
        return metadata.version("backbeat")
    except metadata.PackageNotFoundError:
        return "unknown"
