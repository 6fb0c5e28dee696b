"""Schedules: their next runs, what became of earlier ones; trigger, backfill, pause, resume, delete."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp.web import Response

from backbeat.client.schedules.views import upcoming
from backbeat.errors import Rejected
from backbeat.gateway.console import responses
from backbeat.gateway.console.deeds import (
    body_hash,
    carry_out,
    command_id,
    form_fields,
    new_entry,
    reason_problem,
)
from backbeat.gateway.console.page_error import PageError, not_found
from backbeat.gateway.console.show import times
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.people.audit import DONE
from backbeat.payload.values import id_text
from backbeat.schemas.cron import RecurrenceError, TooManyTimesError, times_between
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.schedules import BACKFILL_MAX, RunState, ScheduleRun, ScheduleView
from backbeat.schemas.messages.status import word

_ROWS = 200
_NEXT_RUNS = 10
_SHOWN_TIMES = 20
#: Actions, and whether nothing brings back what it ends.
ACTIONS = {"pause": False, "resume": False, "trigger": False, "backfill": False, "delete": True}
_CHANGES = ("pause", "resume", "delete")


class RunRow(msgspec.Struct, frozen=True):
    """A run of a schedule, in words."""

    run: ScheduleRun
    cause: str
    state: str
    #: Bucket whose colour and icon it has.
    bucket: str


_BUCKETS = {
    RunState.QUEUED: "waiting",
    RunState.RUNNING: "running",
    RunState.ENDED: "done",
    RunState.CANCELED: "canceled",
    RunState.SKIPPED: "paused",
    RunState.MISSED: "retrying",
}


async def show_all(visit: Visit) -> Page:
    """GET /ui/schedules."""
    parts, _ = await visit.ask_all(queries.GetSchedules, "schedules")
    views = [view for part in parts for view in part.schedules if visit.who.sees(view.plan.user_id)]
    # First those that a person should look at, then those that are due next.
    views.sort(key=lambda view: (not view.problem, view.paused, view.next_at or 0, view.plan.name))
    return visit.page(
        "schedules.html", "Schedules", rows=views[:_ROWS], more=max(0, len(views) - _ROWS), runs=_newest_runs(views)
    )


def _newest_runs(views: list[ScheduleView]) -> dict[bytes, RunRow]:
    """The newest run that is not queued, by schedule."""
    newest = {}
    for view in views:
        runs = (*view.recent, *view.running)
        if runs:
            newest[view.id] = _row(max(runs, key=lambda run: run.at))
    return newest


def _row(run: ScheduleRun) -> RunRow:
    return RunRow(run, word(run.cause), word(run.state), _BUCKETS[run.state])


async def show(visit: Visit) -> Page:
    """GET /ui/schedules/{id}?start=…&end=…: with a range, what a backfill of it would run."""
    return await _page(visit, await find_schedule(visit))


async def find_schedule(visit: Visit) -> ScheduleView:
    """The schedule in the path. 404: there is none that the visitor sees."""
    (view,) = await visit.ask(queries.GetSchedule, "schedule", schedule_id=visit.path_id("schedule"))
    if not visit.who.sees(view.plan.user_id):
        raise not_found("schedule")
    return view  # type: ignore[no-any-return]  # the engine's answer to this query


async def _page(visit: Visit, view: ScheduleView, problem: str = "", status: int = 200) -> Page:
    words = visit.form or visit.query
    filled: list[int] | None = None
    if not problem and visit.may_act and words.get("start"):
        try:
            filled = _times(visit, view, words)
        except ValueError as error:
            problem = str(error)
    return visit.page(
        "schedule.html",
        view.plan.name,
        schedule=view,
        client=visit.client_name(view.plan.user_id),
        runner=visit.client_name(view.plan.node.user_id),
        next_runs=[(at, times.local(at, view.plan.zone)) for at in upcoming(view, _NEXT_RUNS)],
        runs=[_row(run) for run in (*reversed(view.running), *view.queued, *reversed(view.recent))],
        overlap=word(view.plan.overlap),
        start=words.get("start", ""),
        end=words.get("end", ""),
        filled=None if filled is None else [(at, times.local(at, view.plan.zone)) for at in filled[:_SHOWN_TIMES]],
        filled_count=0 if filled is None else len(filled),
        problem=problem,
        response_status=status,
        **form_fields(visit),
        **visit.deeds(id_text(view.id)),
    )


def _times(visit: Visit, view: ScheduleView, words: dict[str, str]) -> list[int]:
    """Times of a backfill. ValueError: there are none, or too many."""
    begin, end = (visit.time_of(words, name) for name in ("start", "end"))
    if begin is None or end is None:
        raise ValueError("A backfill has a first and a last time.")
    try:
        due_times = times_between(view.plan, begin, end, BACKFILL_MAX)
    except (RecurrenceError, TooManyTimesError) as error:
        raise ValueError(str(error)) from error
    if not due_times:
        raise ValueError("The schedule is never due in this range.")
    return due_times


async def change(visit: Visit) -> Page | Response:
    """POST /ui/schedules/{id}: pause, resume, run now, run past times, delete."""
    view = await find_schedule(visit)
    action = visit.form.get("action", "")
    if action not in ACTIONS:
        raise PageError(400, "This form was not whole", f"action is one of {', '.join(ACTIONS)}.")
    reason = visit.form.get("reason", "").strip()
    problem = reason_problem(reason, is_required=ACTIONS[action])
    if problem:
        return await _page(visit, view, problem, 400)
    try:
        due = tuple(_times(visit, view, visit.form)) if action == "backfill" else ()
    except ValueError as error:
        return await _page(visit, view, str(error), 400)
    # The page's forms share a key: what is another change is another command.
    content = f" {id_text(view.id)} {action} {due}"
    identity = command_id(visit, content)
    entry = new_entry(
        visit,
        action=f"backfill {len(due):,} runs" if action == "backfill" else action,
        kind="schedule",
        subject_id=id_text(view.id),
        subject_name=view.plan.name,
        workflow_id="",
        client_id=id_text(view.plan.user_id),
        reason=reason,
        command_id=identity.hex(),
    )
    header: dict[str, Any] = {
        "id": identity, "tid": visit.tid, "body_hash": body_hash(content), "schedule_id": view.id
    }  # fmt: skip

    def make(reply_to: Any) -> commands.AnyCommand:
        if action in _CHANGES:
            return commands.ChangeSchedule(reply_to=reply_to, change=action, note=reason, **header)
        return commands.RunSchedule(reply_to=reply_to, times=due, **header)

    async def send() -> str:
        try:
            await visit.services.engine.command(make, view.id, view.id, f"schedule {view.plan.name[:100]!r}")
        except Rejected as rejected:
            return f"refused: {rejected.message}"
        return DONE

    await carry_out(visit, entry, send)
    if action == "delete":
        return responses.redirect("../schedules")
    return responses.redirect(f"{id_text(view.id)}?done={entry.id}")
