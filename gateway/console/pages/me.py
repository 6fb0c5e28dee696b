"""Settings of the person: who they are here, and how pages look in this browser (time zone, colours)."""

from __future__ import annotations

from aiohttp.web import Response

from backbeat.gateway.console import responses
from backbeat.gateway.console.show.look import THEMES, Look, write_look, zones
from backbeat.gateway.console.visit import Page, Visit

_CHARACTERS_MAX = 64


async def show(visit: Visit) -> Page:
    """GET /ui/me."""
    return _page(visit, visit.look.zone)


def _page(visit: Visit, zone: str, problem: str = "", status: int = 200) -> Page:
    return visit.page(
        "me.html",
        "You",
        zone=zone[:_CHARACTERS_MAX],
        theme=visit.look.theme,
        themes=THEMES,
        clients=None if visit.who.clients is None else [client.name for client in visit.clients()],
        problem=problem,
        response_status=status,
    )


async def change(visit: Visit) -> Page | Response:
    """POST /ui/me: choose a time zone and colours."""
    zone, theme = visit.form.get("zone", "").strip() or "UTC", visit.form.get("theme", "")
    if zone not in zones() or theme not in THEMES:
        return _page(visit, zone, f"{zone[:_CHARACTERS_MAX]!r} is no time zone: Europe/Berlin is one.", 400)
    response = responses.redirect("me")
    response.headers["Set-Cookie"] = write_look(Look(zone, theme), is_secure=visit.is_secure)
    return response
