"""The system: engines and their partitions, what waits there, timers, the search, this gateway."""

from __future__ import annotations

import asyncio
import time

import msgspec

from backbeat.gateway.backlog import Backlog
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.http import errors
from backbeat.gateway.projection.reading.reports import timers
from backbeat.schemas.messages import queries
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.views import EngineView, PartitionState

_PARTITION_SECONDS = 2.0
_ROWS_MAX = 256
#: Nodes with a timer up to which timers are shown: each is read from its node.
_TIMERS_MAX = 100_000


class PartitionRow(msgspec.Struct, frozen=True):
    """A partition, how its engine answered, and what waits there."""

    number: int
    #: Time of the answer, milliseconds; None: there was none.
    milliseconds: float | None
    #: Instance that has it in its group; empty: none has, or Kafka does not say.
    engine: str = ""
    #: Commands behind the newest commit; None: Kafka does not say.
    waiting: int | None = None
    #: View that its engine gives; None: it has not answered.
    view: EngineView | None = None

    @property
    def standing(self) -> str:
        """Standing of a partition in words."""
        if self.view is not None and self.view.state is PartitionState.RESTORING:
            return f"restoring, {self.view.restored:.0%}, {self.view.restore_left:,} records left"
        if self.view is not None and self.view.state is PartitionState.CATCHING_UP:
            return "applies what had come before"
        if self.milliseconds is not None:
            return "answers"
        # An engine has its partitions before it has restored their state.
        return "restoring, or it hangs" if self.engine else "no engine has it"


async def show(visit: Visit) -> Page:
    """GET /ui/system."""
    engine, projection = visit.services.engine, visit.services.projection
    rows: list[PartitionRow] = []
    settings: Settings | None = None
    backlog: Backlog | None = None
    if engine.missing is not None:
        visit.troubles.append(engine.missing)
    else:
        reading = asyncio.create_task(visit.backlog())
        answers, views = await asyncio.gather(
            asyncio.gather(*(_ask(visit, partition) for partition in range(engine.partitions))),
            visit.services.engine_views.read(),
        )
        backlog = await reading
        rows = [
            _with_backlog(msgspec.structs.replace(row, view=view), backlog)
            for (row, _), view in zip(answers, views, strict=False)
        ]
        settings = next((answer for _, answer in answers if answer is not None), None)
    summary = await visit.with_projection(projection.counts, None)
    timed = 0 if summary is None else summary.enqueued + summary.scheduled + summary.retrying
    are_few = timed <= _TIMERS_MAX
    return visit.page(
        "system.html",
        "System",
        live="t=figures",
        partitions=rows[:_ROWS_MAX],
        more_partitions=max(0, len(rows) - _ROWS_MAX),
        silent=[row.number for row in rows if row.milliseconds is None],
        # Hosts are no concern of who sees single clients.
        processes={view.instance: view for row in rows if (view := row.view) is not None},
        engines=None if backlog is None or visit.who.clients is not None else backlog.engines,
        settings=[] if settings is None else [(name, getattr(settings, name)) for name in settings.__struct_fields__],
        counts=summary,
        timers=await visit.share("timers", lambda: projection.read(timers), None) if are_few else None,
        timed=0 if are_few else timed,
        now=time.time_ns() // 1_000_000,
        projection=projection,
        bootstrap_servers=str(visit.services.settings.bootstrap_servers),
    )


def _with_backlog(row: PartitionRow, backlog: Backlog | None) -> PartitionRow:
    if backlog is None:
        return row
    owner = next((engine.instance for engine in backlog.engines if row.number in engine.partitions), "")
    queue = next((queue for queue in backlog.queues.commands.partitions if queue.partition == row.number), None)
    return msgspec.structs.replace(row, engine=owner, waiting=None if queue is None else queue.waiting)


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
