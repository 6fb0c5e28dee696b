"""Overview: is it well, what needs a person, what is at work."""

from __future__ import annotations

import time
from uuid import UUID

import msgspec

from backbeat.gateway.api.shapes.reports import ActivityFigures
from backbeat.gateway.console.figures import Figures
from backbeat.gateway.console.health.needs import LETTERS_MAX, needs_of
from backbeat.gateway.console.health.workers import Workers
from backbeat.gateway.console.pages.stuck import CauseRow, causes_of, row_of
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.projection.reading.causes import next_retry
from backbeat.gateway.projection.reading.filters import WorkflowFilters

_ACTIVITIES_MAX = 15
#: More clients are searched only where one is chosen: each is a search of its own.
CLIENTS_MAX = 100
_NEWEST = 10
_CAUSES = 3
_WORKERS_MAX = 8
#: Statuses of what has failed, as the figures have them.
_FAILED = ("retries_exhausted", "errored", "retrying")
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


async def _causes(visit: Visit, counts: dict[str, int]) -> tuple[list[CauseRow], int]:
    """The first causes of what has failed, and the number of further ones; none are read where nothing has."""
    if not any(counts.values()):
        return [], 0
    client_ids = None if visit.who.clients is None else [client.id_bytes for client in visit.clients()]
    report = await causes_of(visit, client_ids)
    if report is None:
        return [], 0
    shown = report.causes[:_CAUSES]
    return [row_of(visit, cause) for cause in shown], len(report.causes) - len(shown) + report.more


def _workers(visit: Visit, figures: Figures | None) -> list[Workers]:
    """Workers of the clients that the visitor sees, those first that nobody works for."""
    workers = [
        of_client
        for of_client in (figures.workers if figures is not None else ())
        if visit.who.sees(of_client.client_id)
    ]
    return sorted(
        workers, key=lambda of_client: (of_client.nobody_since is None, not of_client.are_there, of_client.client)
    )


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
    counts = {word: sum(row.figures.nodes.get(word, 0) for row in rows) for word in _FAILED}
    causes, more_causes = await _causes(visit, counts)
    workers = _workers(visit, figures)
    now = time.time_ns() // 1_000_000
    curve = visit.parts.counter.course.curve(visit.who, now)
    return visit.page(
        "overview.html",
        "Overview",
        rows=rows[:_ACTIVITIES_MAX],
        live="t=figures",
        more=max(0, len(rows) - _ACTIVITIES_MAX),
        curve=curve,
        counts=counts,
        needs=await needs_of(visit, figures),
        letters_max=LETTERS_MAX,
        causes=causes,
        more_causes=more_causes,
        workers=workers[:_WORKERS_MAX],
        more_workers=max(0, len(workers) - _WORKERS_MAX),
        next_retry=await _next_retry(visit),
        newest=newest,
        is_empty=is_empty,
        refresh_seconds=_EMPTY_REFRESH_SECONDS if is_empty and "still" not in visit.query else 0,
        gateway=visit.gateway_address(),
        bootstrap_servers=str(visit.services.settings.bootstrap_servers),
    )
