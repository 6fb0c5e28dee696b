"""Failures by cause: one cause or many, since when, growing or not; and what retries all that failed with one."""

from __future__ import annotations

from uuid import UUID

import msgspec

from backbeat.gateway.api.shapes.reports import Cause, Causes
from backbeat.gateway.console.show.bars import bars
from backbeat.gateway.console.visit import Page, Visit

_CAUSES = 50


class CauseRow(msgspec.Struct, frozen=True):
    """A cause, with its client's name and what retries it."""

    cause: Cause
    client: str
    #: The last hour as a line of bars.
    bars: str
    #: Failures of the last hour.
    lately: int
    #: Status that most of its nodes are at.
    status: str


async def show(visit: Visit) -> Page:
    """GET /ui/stuck."""
    client_name = visit.query.get("client", "")
    clients = visit.chosen_clients()
    # Causes of all clients are asked for once, not client by client.
    client_ids = None if visit.who.clients is None and not client_name else [client.id_bytes for client in clients]
    report = await causes_of(visit, client_ids)
    rows = None if report is None else [row_of(visit, cause) for cause in report.causes]
    return visit.page(
        "stuck.html",
        "Stuck",
        live="t=figures",
        rows=rows,
        more=0 if report is None else report.more,
        failing=0 if report is None else report.failing,
        retrying=0 if report is None else report.nodes["retrying"],
        clients=[client.name for client in visit.clients()],
        client_name=client_name,
    )


async def causes_of(visit: Visit, client_ids: list[bytes] | None) -> Causes | None:
    """Causes of these clients' failed nodes (None: of all); None while the search is away."""
    key = ("causes", None if client_ids is None else frozenset(client_ids))
    # With 100,000 failing nodes it is a walk over all of them: pages share one.
    return await visit.share(key, lambda: visit.services.projection.causes(client_ids, _CAUSES), None)


def row_of(visit: Visit, cause: Cause) -> CauseRow:
    """A cause as pages show it."""
    status = max(cause.nodes, key=lambda word: (cause.nodes[word], word == "retries_exhausted"))
    if cause.failing:
        status = "retries_exhausted" if cause.nodes.get("retries_exhausted") else "errored"
    client = visit.client_name(UUID(cause.user_id).bytes)
    return CauseRow(cause, client, bars(cause.last_hour), sum(cause.last_hour), status)


async def cause_by_id(visit: Visit, cause_id: str) -> Cause | None:
    """The cause with this id, of those that the visitor sees."""
    clients = None if visit.who.clients is None else list(visit.who.clients)
    report = await visit.with_projection(lambda: visit.services.projection.causes(clients, 1, cause_id), None)
    return next(iter(report.causes), None) if report is not None else None
