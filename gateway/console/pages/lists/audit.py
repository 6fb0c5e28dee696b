"""Page of the audit: who did what, newest first; as files, too."""

from __future__ import annotations

from aiohttp.web import Response

from backbeat.gateway.console.pages.lists.downloads import ROWS_MAX, Download, links, respond
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.people.audit import Entry, EntryFilters
from backbeat.payload.nouns import time_text

_ROWS = 100
_WORDS = ("by", "action", "client", "of", "since", "until")
_COLUMNS = (
    *("id", "at", "actor", "role", "way", "address", "action", "kind", "subject", "subject_ids"),
    *("reason", "outcome", "tid"),
)


async def show(visit: Visit) -> Page:
    """GET /ui/audit."""
    entries = await _entries(visit, _ROWS + 1, visit.query.get("before", ""))
    older = visit.address(before=entries[_ROWS - 1].id) if len(entries) > _ROWS else None
    return visit.page(
        "audit.html",
        "Audit",
        entries=entries[:_ROWS],
        older=older,
        newest=visit.address(before=None) if visit.query.get("before") else None,
        query={word: visit.query.get(word, "") for word in _WORDS},
        is_narrowed=any(map(visit.query.get, _WORDS)),
        clients=[client.name for client in visit.clients()],
        downloads=links(visit, "audit"),
    )


async def download(visit: Visit) -> Response:
    """GET /ui/audit.csv, /ui/audit.jsonl."""
    entries = await _entries(visit, ROWS_MAX + 1, "")
    cells = [
        (
            *(entry.id, time_text(entry.at)),
            *(entry.actor, entry.role, entry.way, entry.address, entry.action, entry.kind, entry.subject_name),
            " ".join(entry.subjects),
            *(entry.reason, entry.outcome, entry.tid),
        )
        for entry in entries
    ]
    return await respond(visit, Download(_COLUMNS, cells))


async def _entries(visit: Visit, count: int, before: str) -> list[Entry]:
    """Entries that the address asks for, and a line on the page where they cannot be followed. PageError 400."""
    audit, query = visit.parts.audit, visit.query
    client_id = visit.chosen_clients()[0].id if query.get("client") else ""
    filters = EntryFilters(
        actor=query.get("by", ""),
        action=query.get("action", ""),
        client_id=client_id,
        since=visit.time_of(query, "since"),
        until=visit.time_of(query, "until"),
    )
    await audit.catch_up()
    if audit.follower.problem:
        visit.troubles.append(audit.follower.problem)
    return audit.newest(count, visitor=visit.who, of=query.get("of", ""), before=before, filters=filters)
