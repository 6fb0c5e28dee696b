"""Forms of schedules: to make one, and to change what it signals and when."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp.web import Response

from backbeat.errors import Rejected
from backbeat.gateway.api.schedules import plan_of
from backbeat.gateway.console import responses
from backbeat.gateway.console.deeds import (
    body_hash,
    carry_out,
    command_id,
    form_fields,
    new_entry,
    object_of,
    reason_problem,
)
from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.pages.operations.schedules import find_schedule
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.http import errors
from backbeat.gateway.http.parameters import Parameters
from backbeat.gateway.people.audit import DONE
from backbeat.payload.values import id_text
from backbeat.schemas.messages import commands, ids, queries
from backbeat.schemas.messages.schedules import OVERLAP_WORDS, NewSchedule, Overlap, ScheduleView
from backbeat.schemas.messages.status import word

#: Fields that are texts or numbers, as the API has them.
_WORDS = ("workflow", "signal", "cron", "zone", "interval", "offset", "catch_up", "overlap")
_NOT_FOUND_STATUS = 404
_CONFLICT_STATUS = 409
_EMPTY = {
    "client": "",
    "name": "",
    "subject": "",
    "arguments": "{}",
    **dict.fromkeys(_WORDS, ""),
    "zone": "UTC",
    "overlap": word(Overlap.SKIP),
}


async def show_new(visit: Visit) -> Page:
    """GET /ui/schedules/new."""
    return _page(visit, None)


async def show(visit: Visit) -> Page:
    """GET /ui/schedules/{id}/change."""
    return _page(visit, await find_schedule(visit))


def _page(visit: Visit, view: ScheduleView | None, problem: str = "", status: int = 200) -> Page:
    values = {**_EMPTY, **({} if view is None else _values(view.plan)), **visit.form}
    return visit.page(
        "schedule_form.html",
        "A new schedule" if view is None else f"Change: {view.plan.name}",
        schedule=view,
        values=values,
        clients=[client.name for client in visit.clients()],
        overlaps=list(OVERLAP_WORDS),
        has_arguments=view is None or visit.may_read_payloads,
        problem=problem,
        response_status=status,
        **form_fields(visit),
    )


def _values(plan: NewSchedule) -> dict[str, str]:
    """A schedule as the form's fields have it."""
    return {
        "workflow": plan.workflow.name,
        "subject": plan.workflow.subject.decode(errors="replace"),
        "signal": plan.node.name,
        "arguments": plan.node.client_data.decode(errors="replace"),
        "cron": plan.cron,
        "zone": plan.zone,
        "interval": f"{plan.interval_seconds:g}" if plan.interval_seconds else "",
        "offset": f"{plan.offset_seconds:g}" if plan.offset_seconds else "",
        "catch_up": f"{plan.catch_up_seconds:g}",
        "overlap": word(plan.overlap),
    }


def _asked(visit: Visit, user_id: bytes, name: str, old: NewSchedule | None) -> NewSchedule:
    """The schedule that the form asks for; what the form does not have stays as it was. Refusal 400."""
    form = visit.form
    texts: dict[str, Any] = {field: form.get(field, "").strip() for field in _WORDS}
    parameters = {field: msgspec.json.encode(text) for field, text in texts.items()}
    if form.get("subject", "").strip():
        parameters["subject"] = _subject(form["subject"].strip())
    if "arguments" in form:
        parameters["client_data"] = object_of(form["arguments"])
    plan = plan_of(Parameters(parameters), user_id, name, visit.services.engine)
    if old is None:
        return plan
    client_data = plan.node.client_data if "arguments" in form else old.node.client_data
    return msgspec.structs.replace(
        plan,
        workflow=msgspec.structs.replace(plan.workflow, decider=old.workflow.decider),
        node=msgspec.structs.replace(old.node, name=plan.node.name, client_data=client_data),
    )


def _subject(text: str) -> bytes:
    """A subject as JSON text: what is none is a text."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return msgspec.json.encode(text)
    return text.encode(errors="replace")


async def create(visit: Visit) -> Page | Response:
    """POST /ui/schedules/new."""
    client_id = visit.client_id(visit.form.get("client", ""))
    name = visit.form.get("name", "").strip()
    if client_id is None:
        return _page(visit, None, "Choose the client whose schedule it is.", 400)
    return await _put(visit, None, client_id, name)


async def change(visit: Visit) -> Page | Response:
    """POST /ui/schedules/{id}/change."""
    view = await find_schedule(visit)
    return await _put(visit, view, view.plan.user_id, view.plan.name)


async def _put(visit: Visit, view: ScheduleView | None, user_id: bytes, name: str) -> Page | Response:
    reason = visit.form.get("reason", "").strip()
    problem = reason_problem(reason, is_required=False)
    if problem:
        return _page(visit, view, problem, 400)
    try:
        plan = _asked(visit, user_id, name, None if view is None else view.plan)
    except errors.Refusal as refusal:
        return _page(visit, view, str(refusal), refusal.status)
    schedule_id = ids.schedule_id(user_id, name)
    # What is another schedule is another command, although the form is the same.
    content = f" {id_text(schedule_id)} {msgspec.json.encode(plan).decode()}"
    identity = command_id(visit, content)
    existing = await _existing(visit, schedule_id) if view is None else None
    if existing is not None and existing.plan != plan:
        return _page(visit, view, f"The client has a schedule {name[:100]!r}: change that one.", _CONFLICT_STATUS)
    entry = new_entry(
        visit,
        action="create" if view is None else "change",
        kind="schedule",
        subject_id=id_text(schedule_id),
        subject_name=name,
        workflow_id="",
        client_id=id_text(user_id),
        reason=reason,
        command_id=identity.hex(),
    )
    refusals: list[str] = []

    async def send() -> str:
        try:
            await visit.services.engine.command(
                lambda reply_to: commands.PutSchedule(
                    reply_to=reply_to,
                    id=identity,
                    tid=visit.tid,
                    body_hash=body_hash(content),
                    schedule_id=schedule_id,
                    schedule=plan,
                ),
                schedule_id,
                schedule_id,
                f"schedule {name[:100]!r}",
            )
        except Rejected as rejected:
            refusals.append(rejected.message)
            return f"refused: {rejected.message}"
        return DONE

    await carry_out(visit, entry, send)
    if refusals:
        return _page(visit, view, refusals[0], _CONFLICT_STATUS)
    up = "" if view is None else "../"
    return responses.redirect(f"{up}{id_text(schedule_id)}?done={entry.id}")


async def _existing(visit: Visit, schedule_id: bytes) -> ScheduleView | None:
    """The schedule of this id; None: there is none."""
    try:
        (view,) = await visit.ask(queries.GetSchedule, "schedule", schedule_id=schedule_id)
    except PageError as error:
        if error.status != _NOT_FOUND_STATUS:
            raise
        return None
    return view  # type: ignore[no-any-return]  # the engine's answer to this query
