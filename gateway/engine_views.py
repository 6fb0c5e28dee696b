"""Views of the engines: each partition is asked which has it, and how it stands; while it is restored, too."""

from __future__ import annotations

import asyncio

from backbeat.gateway.engine_client import Engine
from backbeat.gateway.http import errors
from backbeat.schemas.messages.queries import GetEngine
from backbeat.schemas.messages.views import EngineView

_ANSWER_SECONDS = 2.0


async def read_views(engine: Engine) -> list[EngineView | None]:
    """The view of each partition; None: nobody has answered in time. 503: Kafka is away."""
    return await asyncio.gather(*(_read_view(engine, partition) for partition in engine.every_partition()))


async def _read_view(engine: Engine, partition: int) -> EngineView | None:
    try:
        (view,) = await engine.query(
            lambda reply_to, deadline: GetEngine(reply_to=reply_to, deadline=deadline, partition=partition),
            f"the engine of partition {partition}",
            _ANSWER_SECONDS,
        )
    except errors.Refusal:
        return None
    assert isinstance(view, EngineView)
    return view
