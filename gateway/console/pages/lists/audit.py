"""Page of the audit: who did what, newest first."""

from __future__ import annotations

from backbeat.gateway.console.visit import Page, Visit

_ROWS = 200


async def show(visit: Visit) -> Page:
    """GET /ui/audit."""
    await visit.parts.audit.catch_up()
    if visit.parts.audit.follower.problem:
        visit.troubles.append(visit.parts.audit.follower.problem)
    entries = visit.parts.audit.newest(_ROWS, visitor=visit.who, actor=visit.query.get("by", ""))
    return visit.page("audit.html", "Audit", entries=entries, rows_max=_ROWS, by=visit.query.get("by", ""))
