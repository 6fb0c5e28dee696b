"""Overview: is it well, what needs a person, what is at work."""

from __future__ import annotations

import time
from uuid import UUID

import msgspec

from backbeat.gateway.api.shapes.reports import ActivityFigures
from backbeat.gateway.console.figures import WINDOW_SECONDS, Figures
from backbeat.gateway.console.show.bars import bars
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.projection.reading.causes import next_retry
from backbeat.gateway.projection.reading.filters import WorkflowFilters
from backbeat.schemas.messages import queries

_ACTIVITIES_MAX = 15
#: More clients are searched only where one is chosen: each is a search of its own.
CLIENTS_MAX = 100
_NEWEST = 10
_SOON_MS = 3_600_000
#: While there is nothing yet, the page looks again by itself.
_EMPTY_REFRESH_SECONDS = 5


class ActivityRow(msgspec.Struct, frozen=True):
    """An activity at work, with its client's name."""

    client: str
    client_id: str
    figures: ActivityFigures

    @property
    def failing_status(self) -> str:
        """Status that lists what fails: most have no retries left, some failed in the engine itself."""
        return "retries_exhausted" if self.figures.nodes.get("retries_exhausted") else "errored"


async def _next_retry(visit: Visit) -> int | None:
    """Time of the first retry that the visitor sees."""
    client_ids = None if visit.who.clients is None else sorted(visit.who.clients)
    key = ("next retry", visit.who.clients)
    projection = visit.services.projection
    return await visit.share(key, lambda: projection.read(lambda connection: next_retry(connection, client_ids)), None)


async def _schedules_until(visit: Visit, figures: Figures | None, until: int) -> int | None:
    """Number of schedules that are due by then; pages share what the engines have told. None: one does not answer."""
    if figures is None or not figures.partitions or figures.missing_partitions:
        # Nobody waits for it here.
        return None

    async def read() -> list[tuple[bytes, int]]:
        parts, _ = await visit.ask_all(queries.GetSchedules, "schedules")
        views = (view for part in parts for view in part.schedules)
        return [(view.plan.user_id, view.next_at) for view in views if view.next_at is not None and not view.paused]

    times, _ = await visit.parts.shared.get(("schedules", visit.who.clients), read)
    return sum(1 for user_id, at in times if at <= until and visit.who.sees(user_id))


async def show(visit: Visit) -> Page:
    """GET /ui/."""
    figures = await visit.parts.counter.figures()
    clients = {client.id: client.name for client in visit.clients()}
    activities = [] if figures is None or figures.activities is None else figures.activities
    rows = [
        ActivityRow(clients.get(activity.user_id, activity.user_id), activity.user_id, activity)
        for activity in activities
        if visit.who.sees(UUID(activity.user_id).bytes)
    ]
    rows.sort(key=lambda row: (-row.figures.failing, -row.figures.retrying, row.client, row.figures.activity))
    client_ids = [client.id_bytes for client in visit.clients()][:CLIENTS_MAX]
    newest = await visit.with_projection(
        lambda: visit.parts.searches.workflows(client_ids, WorkflowFilters(per_page=_NEWEST)), None
    )
    is_empty = newest == [] and not rows
    now = time.time_ns() // 1_000_000
    curve = visit.parts.counter.course.curve(visit.who, now)
    return visit.page(
        "overview.html",
        "Overview",
        rows=rows[:_ACTIVITIES_MAX],
        live="t=figures",
        more=max(0, len(rows) - _ACTIVITIES_MAX),
        curve=curve,
        bars="" if curve is None else bars(curve.hours),
        retrying=sum(row.figures.retrying for row in rows),
        next_retry=await _next_retry(visit),
        schedules_soon=await _schedules_until(visit, figures, now + _SOON_MS),
        newest=newest,
        is_empty=is_empty,
        window_seconds=int(WINDOW_SECONDS),
        refresh_seconds=_EMPTY_REFRESH_SECONDS if is_empty and "still" not in visit.query else 0,
        gateway=visit.gateway_address(),
        bootstrap_servers=str(visit.services.settings.bootstrap_servers),
    )
