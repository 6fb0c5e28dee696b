"""Views of the engines: each partition is asked which has it, and how it stands; while it is restored, too."""

from __future__ import annotations

import asyncio

from backbeat.gateway.engine_client import Engine
from backbeat.gateway.http import errors
from backbeat.schemas.messages.queries import GetEngine
from backbeat.schemas.messages.views import EngineView

_ANSWER_SECONDS = 2.0


class EngineViews:
    """Views of the engines. One reading serves all who ask meanwhile: many callers cost no more than one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reading: asyncio.Task[list[EngineView | None]] | None = None

    async def read(self) -> list[EngineView | None]:
        """The view of each partition; None: nobody has answered within 2 s. 503: the partitions are not known yet."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(_read_views(self._engine))
        return await asyncio.shield(self._reading)


async def _read_views(engine: Engine) -> list[EngineView | None]:
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
