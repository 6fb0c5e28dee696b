"""Activities: what is at work, its limits and who waits for them; pause, resume and limit one."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import msgspec
from aiohttp.web import Response

from backbeat.client.limits.rates import read_rate
from backbeat.client.limits.spread import wait_until_known
from backbeat.client.limits.views import ActivityLimit, read_limits
from backbeat.errors import InvalidParameters, Rejected, Timeout
from backbeat.gateway.api.shapes.reports import ActivityFigures
from backbeat.gateway.console import responses
from backbeat.gateway.console.deeds import (
    body_hash,
    carry_out,
    command_id,
    form_fields,
    new_entry,
    reason_problem,
)
from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.show.course import ActivityHour
from backbeat.gateway.console.show.times import now_ms
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.http import errors
from backbeat.gateway.people.audit import DONE
from backbeat.payload.values import id_text
from backbeat.schemas.messages import commands, ids, queries
from backbeat.schemas.messages.limits import Limits, LimitValues

_ROWS = 200
_POOLS = 50
_KNOWN_SECONDS = 5.0
_COUNT_MAX = 1_000_000
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,3})?")
ACTIONS = {"pause": "pause", "resume": "resume", "limit": "change the limit", "remove": "remove the limit"}


class ActivityRow(msgspec.Struct, frozen=True):
    """An activity of a client: how its nodes stand, and its limit."""

    client: str
    client_id: bytes
    name: str
    #: None: nothing of it is at work.
    figures: ActivityFigures | None
    limit: ActivityLimit | None
    #: False: not every partition has said its limits, so it may have another one, or one at all.
    is_limit_known: bool = True
    #: None: nothing of it has failed or ended within the hour, as far as this gateway has counted.
    hour: ActivityHour | None = None

    @property
    def subject_id(self) -> str:
        """Its id in the audit: that of its limit."""
        return id_text(ids.limit_id(self.client_id, self.name))


async def show_all(visit: Visit) -> Page:
    """GET /ui/activities."""
    rows, _ = await _rows(visit)
    return visit.page(
        "activities.html",
        "Activities",
        live="t=figures",
        rows=rows[:_ROWS],
        more=max(0, len(rows) - _ROWS),
    )


async def _rows(visit: Visit) -> tuple[list[ActivityRow], bool]:
    """Activities at work and those with a limit, first those that need somebody; and whether limits are known."""
    figures = await visit.parts.counter.figures()
    at_work = {
        (UUID(activity.user_id).bytes, activity.activity): activity
        for activity in (figures.activities if figures is not None else None) or ()
    }
    parts, is_whole = await visit.ask_all(queries.GetLimits, "limits")
    now = now_ms()
    limits = {(UUID(limit.client_id).bytes, limit.activity): limit for limit in read_limits(parts)}
    rows = [
        ActivityRow(
            visit.client_name(key[0]),
            *key,
            at_work.get(key),
            limits.get(key),
            is_whole,
            visit.parts.counter.course.activity(*key, now),
        )
        for key in at_work.keys() | limits.keys()
        if visit.who.sees(key[0])
    ]
    return sorted(rows, key=_importance), is_whole


def _importance(row: ActivityRow) -> tuple[Any, ...]:
    figures = row.figures
    counts = (0, 0) if figures is None else (-figures.failing, -figures.retrying)
    return (*counts, row.limit is None, row.client, row.name)


async def show(visit: Visit) -> Page | Response:
    """GET /ui/activity?client=…&name=…: names are in the query, since proxies rewrite paths."""
    if not visit.query:
        return responses.redirect("activities")
    return await _page(visit, await _row(visit, visit.query))


async def _row(visit: Visit, words: dict[str, str]) -> ActivityRow:
    client, name = words.get("client", ""), words.get("name", "")
    client_id = visit.client_id(client)
    if client_id is None or not name:
        raise PageError(404, "There is no such activity", "Its client is not known, or is none that you may see.")
    rows, is_known = await _rows(visit)
    rows = [row for row in rows if (row.client_id, row.name) == (client_id, name)]
    return rows[0] if rows else ActivityRow(visit.client_name(client_id), client_id, name, None, None, is_known)


async def _page(visit: Visit, row: ActivityRow, problem: str = "", status: int = 200) -> Page:
    limit = row.limit
    pools = [] if limit is None else sorted(limit.pools, key=lambda pool: -pool.waiting)
    fields = {
        "concurrency": limit and limit.concurrency,
        "rate": limit and limit.rate,
        "burst": limit and limit.burst,
        "by": limit and limit.key,
        "aging_seconds": limit and f"{limit.aging_seconds:g}",
    }
    return visit.page(
        "activity.html",
        row.name,
        row=row,
        pools=pools[:_POOLS],
        more_pools=max(0, len(pools) - _POOLS),
        values={name: visit.form.get(name, value or "") for name, value in fields.items()},
        **form_fields(visit),
        problem=problem,
        response_status=status,
        **visit.deeds(row.subject_id),
    )


async def change(visit: Visit) -> Page | Response:
    """POST /ui/activity: pause, resume, limit."""
    row = await _row(visit, visit.form)
    action = visit.form.get("action", "")
    if action not in ACTIONS:
        raise PageError(400, "This form was not whole", f"action is one of {', '.join(ACTIONS)}.")
    reason = visit.form.get("reason", "").strip()
    problem = reason_problem(reason, is_required=False)
    if problem:
        return await _page(visit, row, problem, 400)
    try:
        values = _values(visit) if action == "limit" else None
    except (InvalidParameters, ValueError) as error:
        return await _page(visit, row, str(error), 400)
    # The page's forms share a key: what is another change is another command.
    content = f" {row.subject_id} {action} {msgspec.json.encode(values).decode()}"
    identity = command_id(visit, content)
    entry = new_entry(
        visit,
        action=ACTIONS[action],
        kind="activity",
        subject_id=row.subject_id,
        subject_name=row.name,
        workflow_id="",
        client_id=id_text(row.client_id),
        reason=reason,
        command_id=identity.hex(),
    )
    command = commands.ChangeLimit(
        id=identity,
        tid=visit.tid,
        body_hash=body_hash(content),
        client_id=row.client_id,
        activity=row.name,
        values=LimitValues() if action == "remove" else values,
        paused={"pause": True, "resume": False, "remove": False}.get(action),
    )
    await carry_out(visit, entry, lambda: _send(visit, command))
    return responses.redirect(visit.address(client=row.client, name=row.name, done=entry.id))


def _values(visit: Visit) -> LimitValues:
    """Bounds from the form. ValueError, InvalidParameters: they are none."""
    concurrency, rate = _count(visit, "concurrency", "nodes at once"), visit.form.get("rate", "").strip()
    if concurrency is None and not rate:
        raise ValueError("Say how many at once, or how many in a time, or both.")
    count, period = read_rate(rate) if rate else (None, 1.0)
    burst, aging = _count(visit, "burst", "starts at once"), visit.form.get("aging_seconds", "").strip()
    if aging and not (_SECONDS.fullmatch(aging) and float(aging) > 0):
        raise ValueError(f"{aging[:40]!r} is no number of seconds.")
    usual = LimitValues()
    return LimitValues(
        concurrency=concurrency,
        rate_count=count,
        rate_period_seconds=period,
        rate_burst=usual.rate_burst if burst is None else burst,
        key=visit.form.get("by", "").strip(),
        aging_seconds=float(aging) if aging else usual.aging_seconds,
    )


def _count(visit: Visit, name: str, noun: str) -> int | None:
    """A whole number of the form; null: the field is empty. ValueError: it is none."""
    text = visit.form.get(name, "").strip()
    if text and not (text.isdecimal() and 0 < int(text[:10]) < _COUNT_MAX):
        raise ValueError(f"{text[:40]!r} is no number of {noun}.")
    return int(text) if text else None


async def _send(visit: Visit, command: commands.ChangeLimit) -> str:
    """Send the change, and wait until every partition goes by it; its outcome as the audit has it."""
    engine = visit.services.engine
    route = ids.limit_id(command.client_id, command.activity)
    target = f"limit of {command.activity[:100]!r}"

    async def known(partition: int, _: float) -> Limits:
        parts = await visit.ask(queries.GetLimits, "limits", partition=partition)
        return Limits(tuple(view for part in parts for view in part.limits))

    try:
        changed: Limits = await engine.command(
            lambda reply_to: msgspec.structs.replace(command, reply_to=reply_to), route, route, target
        )
    except Rejected as rejected:
        return f"refused: {rejected.message}"
    try:
        await wait_until_known(changed.limits[0].limit, known, engine.partitions, _KNOWN_SECONDS)
    except (Timeout, errors.Refusal) as late:
        return f"done, and not everywhere yet: {late}"
    return DONE
