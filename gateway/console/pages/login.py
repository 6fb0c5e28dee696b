"""Logging in and out."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp.web import Response

from backbeat.gateway.console import responses
from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.visit import Page, Visit

#: Of the form below `/ui/`.
PATH = "login"
#: Prefix of another form's fields, which are kept until whoever has sent them is logged in.
_KEPT = "kept."


async def show(visit: Visit) -> Page:
    """GET /ui/login."""
    return _form(visit, visit.query.get("next", ""))


def interrupt(visit: Visit, address: str) -> Page:
    """The login of somebody whose session was over when a form was sent to this address: its fields are kept."""
    kept = {f"{_KEPT}{name}": value for name, value in visit.form.items()}
    problem = "Your session is over. Nothing was changed; what was filled in is kept, and comes back once you are in."
    return _form(visit, address, problem, kept, 401)


def refuse(visit: Visit, refusal: PageError) -> Page:
    """The login that could not be looked at, to be tried again; without its name and token."""
    return _form(visit, visit.form.get("next", ""), f"{refusal.title}. {refusal.text}", _kept(visit), refusal.status)


def _kept(visit: Visit) -> dict[str, str]:
    """Fields of another form that the login's has with it."""
    if not visit.keeps_form:
        return {}
    return {field: value for field, value in visit.form.items() if field.startswith(_KEPT)}


def _form(
    visit: Visit, following: str, problem: str = "", kept: Mapping[str, str] | None = None, status: int = 200
) -> Page:
    people = visit.parts.entrance.people
    # A gateway that lets everybody in reads no people.
    follower = people.follower
    trouble = follower.problem if follower.is_started else ""
    return visit.page(
        "login.html",
        "Log in",
        following=following,
        waiting=kept or {},
        response_status=status,
        problem=problem or trouble,
        is_nobody_there=follower.is_started and not people.all() and not trouble,
    )


async def log_in(visit: Visit) -> Page | Response:
    """POST /ui/login."""
    name, token = visit.form.get("name", ""), visit.form.get("token", "").strip()
    following = visit.form.get("next", "")
    kept = _kept(visit)
    entered = await visit.parts.entrance.log_in(visit.request, name, token)
    if entered is None:
        return _form(visit, following, "There is nobody of this name with this token.", kept)
    visit.visitor, cookie = entered
    if kept and visit.is_page(following, "POST"):
        form = {field.removeprefix(_KEPT): value for field, value in kept.items()}
        path = following.partition("?")[0]
        values = visit.kept(form, path, f"{visit.base}{following}")
        return visit.page(
            "kept.html", "You are logged in", following=path, response_headers={"Set-Cookie": cookie}, **values
        )
    # With its folder before it: the overview's address is empty, and would be no location.
    response = responses.redirect(f"./{following if visit.is_page(following) else ''}")
    response.headers.add("Set-Cookie", cookie)
    return response


async def log_out(visit: Visit) -> Response:
    """POST /ui/logout."""
    response = responses.redirect("login")
    response.headers.add("Set-Cookie", visit.parts.entrance.log_out(visit.request))
    return response
