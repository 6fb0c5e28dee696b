"""Forms of drills: one is begun, or aborted, by operators who see all clients; its process is the command line's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec
from aiohttp.web import Response

from backbeat.gateway.console import responses
from backbeat.gateway.console.deeds import carry_out, command_id, form_fields, new_entry, reason_problem
from backbeat.gateway.console.page_error import PageError, not_found
from backbeat.gateway.console.pages.operations.drill_processes import (
    HERE,
    BusyError,
    Drills,
    PlayChoice,
    RefusedError,
)
from backbeat.gateway.console.pages.operations.drill_runs import (
    DrillsError,
    Request,
    RunSummary,
    is_name,
    is_under_way,
    read_run,
)
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.people.audit import DONE, Entry

T = TypeVar("T")

KIND = "drill"
#: Prefix of a box in the form; the play's name follows.
_BOX = "play:"
_PLAYS_MAX = 20
_SECONDS_MAX = 600
_SERVICES_SHOWN = 50


def drills_of(visit: Visit) -> Drills:
    """The gateway's drills. 404: it has none, or the visitor does not see all that a drill is about."""
    drills = visit.parts.drills
    if drills is None or visit.who.clients is not None:
        raise not_found("page")
    return drills


async def show(visit: Visit) -> Page:
    """GET /ui/drills/begin?on=…: the form; with an installation, what it is about."""
    return await _page(visit)


async def _page(visit: Visit, problem: str = "", status: int = 200) -> Page:
    drills = drills_of(visit)
    words = visit.form or visit.query
    installation = words.get("on") or next(iter(drills.installations), "")
    services: list[str] = []
    plays: list[PlayChoice] = []
    try:
        plays = await asyncio.to_thread(drills.plays)
        if installation in drills.installations:
            services = await asyncio.to_thread(drills.services, installation)
    except DrillsError as error:
        problem, status = problem or str(error), max(status, 503)
    return visit.page(
        "drill_begin.html",
        "Begin a drill",
        installations={
            name: "one that is started for the run on the gateway's host, and removed" if path is None else str(path)
            for name, path in drills.installations.items()
        },
        chosen=installation,
        here=HERE,
        services=services[:_SERVICES_SHOWN],
        more_services=max(0, len(services) - _SERVICES_SHOWN),
        plays=plays,
        ticked={name.removeprefix(_BOX) for name in words if name.startswith(_BOX)},
        seconds=words.get("seconds", ""),
        problem=problem,
        response_status=status,
        **form_fields(visit),
    )


async def begin(visit: Visit) -> Page | Response:
    """POST /ui/drills/begin: a run of the plays whose boxes are ticked."""
    drills = drills_of(visit)
    installation = visit.form.get("on", "")
    if installation not in drills.installations:
        raise PageError(
            403,
            "This gateway was not told of such an installation",
            "Drills are begun on those alone that it was started with: --ui-drill-topology FILE.",
        )
    names = [name.removeprefix(_BOX) for name in visit.form if name.startswith(_BOX)]
    playbook = {play.name for play in await _in_thread(drills.plays)}
    reason = visit.form.get("reason", "").strip()
    seconds, problem = _seconds(visit.form.get("seconds", "").strip())
    if not names or len(names) > _PLAYS_MAX or not playbook.issuperset(names):
        problem = f"Tick one play at least, and {_PLAYS_MAX} at most, of those that are listed."
    problem = reason_problem(reason, is_required=True) or problem
    if problem:
        return await _page(visit, problem, 400)
    identity = command_id(visit, f" drill {installation} {names} {seconds}")
    request = Request(key=identity.hex(), actor=visit.who.name, reason=reason, plays=names, installation=installation)
    entry = _entry(visit, f"begin {', '.join(names)}"[:300], ("begin", f"on {installation}"), reason, identity)
    name = ""

    async def send() -> str:
        nonlocal name
        try:
            name = await asyncio.to_thread(drills.start, request, seconds)
        except (BusyError, RefusedError) as error:
            raise PageError(409, "No drill was begun", str(error)) from error
        except DrillsError as error:
            raise PageError(503, "It is not known whether it was begun", str(error)) from error
        return f"{DONE}: run {name}"

    await carry_out(visit, entry, send)
    return responses.redirect(f"{name}?done={entry.id}")


async def abort(visit: Visit) -> Response:
    """POST /ui/drills/{run}: its fault is taken back at once, and nothing more is played."""
    drills, name = drills_of(visit), visit.values["run"]
    if not is_name(name) or not (drills.folder / name).is_dir():
        raise not_found("run")
    run = await _in_thread(lambda: read_run(drills.folder, name, RunSummary))
    if run is not None and run.has_ended and not await _in_thread(lambda: is_under_way(drills.folder, name)):
        raise PageError(400, "This run is over", "There is nothing to abort.")
    reason = visit.form.get("reason", "").strip()
    if problem := reason_problem(reason, is_required=False):
        raise PageError(400, "Say it shorter", problem)
    entry = _entry(visit, "abort", (name, f"run {name}"), reason, command_id(visit, f" abort {name}"))
    by = f"{visit.who.name} (console)" + (f": {reason}" if reason else "")

    async def send() -> str:
        try:
            is_over = await asyncio.to_thread(drills.abort, name, by)
        except RefusedError as error:
            raise PageError(409, "Something of the fault is left", str(error)) from error
        return DONE if is_over else f"{DONE}: its faults are being taken back"

    await carry_out(visit, entry, send)
    return responses.redirect(f"{name}?done={entry.id}")


def _entry(visit: Visit, action: str, subject: tuple[str, str], reason: str, identity: bytes) -> Entry:
    """Entry of the audit; `subject`: the id, which is a page's below `/ui/drills/`, and the name."""
    subject_id, subject_name = subject
    return new_entry(
        visit,
        action=action,
        kind=KIND,
        subject_id=subject_id,
        subject_name=subject_name,
        workflow_id="",
        client_id="",
        reason=reason,
        command_id=identity.hex(),
    )


def _seconds(text: str) -> tuple[float | None, str]:
    """Length of each fault, None where the play's own counts; and what is wrong with it."""
    if not text:
        return None, ""
    if not text.isdecimal() or not text.isascii() or not 1 <= int(text[:5]) <= _SECONDS_MAX:
        return None, f"{text[:40]!r} is no length of a fault: whole seconds, 1 to {_SECONDS_MAX}."
    return float(text), ""


async def _in_thread(read: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(read)
    except (DrillsError, msgspec.MsgspecError) as error:
        raise PageError(503, "The drills cannot be read", str(error)) from error
