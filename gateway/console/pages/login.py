"""Logging in and out."""

from __future__ import annotations

from aiohttp.web import Response

from backbeat.gateway.console import responses
from backbeat.gateway.console.visit import Page, Visit


async def show(visit: Visit) -> Page:
    """GET /ui/login."""
    return _form(visit, visit.query.get("next", ""), "")


def _form(visit: Visit, following: str, problem: str) -> Page:
    people = visit.parts.entrance.people
    # A gateway that lets everybody in reads no people.
    follower = people.follower
    trouble = follower.problem if follower.is_started else ""
    return visit.page(
        "login.html",
        "Log in",
        following=following,
        problem=problem or trouble,
        is_nobody_there=follower.is_started and not people.all() and not trouble,
    )


async def log_in(visit: Visit) -> Page | Response:
    """POST /ui/login."""
    name, token = visit.form.get("name", ""), visit.form.get("token", "").strip()
    following = visit.form.get("next", "")
    cookie = await visit.parts.entrance.log_in(visit.request, name, token)
    if cookie is None:
        return _form(visit, following, "There is nobody of this name with this token.")
    response = responses.redirect(following if visit.is_page(following) else "./")
    response.headers.add("Set-Cookie", cookie)
    return response


async def log_out(visit: Visit) -> Response:
    """POST /ui/logout."""
    response = responses.redirect("login")
    response.headers.add("Set-Cookie", visit.parts.entrance.log_out(visit.request))
    return response
