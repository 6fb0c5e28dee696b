"""The system: partitions and their engines, the search, this gateway, the clients."""

from __future__ import annotations

import asyncio
import time

import msgspec

from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.http import errors
from backbeat.schemas.messages import queries
from backbeat.schemas.messages.bounds import Settings

_PARTITION_SECONDS = 2.0
_ROWS_MAX = 256


class PartitionRow(msgspec.Struct, frozen=True):
    """A partition, and how its engine answered."""

    number: int
    #: Time of the answer, milliseconds; None: there was none.
    milliseconds: float | None


async def show(visit: Visit) -> Page:
    """GET /ui/system."""
    engine, projection = visit.services.engine, visit.services.projection
    rows: list[PartitionRow] = []
    settings: Settings | None = None
    if engine.missing is not None:
        visit.troubles.append(engine.missing)
    else:
        answers = await asyncio.gather(*(_ask(visit, partition) for partition in range(engine.partitions)))
        rows = [row for row, _ in answers]
        settings = next((answer for _, answer in answers if answer is not None), None)
    summary = await visit.with_projection(projection.counts, None)
    return visit.page(
        "system.html",
        "System",
        partitions=rows[:_ROWS_MAX],
        more_partitions=max(0, len(rows) - _ROWS_MAX),
        silent=[row.number for row in rows if row.milliseconds is None],
        settings=[] if settings is None else [(name, getattr(settings, name)) for name in settings.__struct_fields__],
        counts=summary,
        projection=projection,
        clients=visit.clients() if engine.missing is None else [],
        bootstrap_servers=str(visit.services.settings.bootstrap_servers),
    )


async def _ask(visit: Visit, partition: int) -> tuple[PartitionRow, Settings | None]:
    asked_at = time.perf_counter()
    try:
        (answer,) = await visit.services.engine.query(
            lambda reply_to, deadline: queries.GetSettings(reply_to=reply_to, deadline=deadline, partition=partition),
            f"partition {partition}",
            _PARTITION_SECONDS,
        )
    except errors.Refusal:
        return PartitionRow(partition, None), None
    assert isinstance(answer, Settings)
    return PartitionRow(partition, (time.perf_counter() - asked_at) * 1_000), answer
