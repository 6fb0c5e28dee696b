"""Calls for schedules: workflows that get signals at times (docs/how-to/schedules.md)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from aiohttp.web import Response

from backbeat.client.schedules.views import Schedule
from backbeat.gateway import engine_calls
from backbeat.gateway.api.nodes import backoff_of, priority_of
from backbeat.gateway.api.redaction import redacted
from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call, answer, success
from backbeat.gateway.http.parameters import Parameters, find_id
from backbeat.gateway.http.times import to_milliseconds
from backbeat.payload.nouns import json_writer
from backbeat.schemas.cron import RecurrenceError, TooManyTimesError, times_after, times_between
from backbeat.schemas.messages import commands, ids, queries
from backbeat.schemas.messages.schedules import (
    BACKFILL_MAX,
    INTERVAL_SECONDS_MIN,
    OVERLAP_WORDS,
    NewSchedule,
    Overlap,
    ScheduleView,
)
from backbeat.schemas.messages.values import Backoff, NewNode, NewWorkflow
from backbeat.schemas.requests.fields import subject_text

if TYPE_CHECKING:
    from backbeat.gateway.engine_client import Engine

_schedule_json = json_writer(Schedule)


async def index(call: Call) -> Response:
    """GET /schedules: the caller's schedules by name."""
    batches = await asyncio.gather(*(_in_partition(call, partition) for partition in call.engine.every_partition()))
    views = sorted((view for batch in batches for view in batch), key=lambda view: view.plan.name)
    return answer([_schedule_json(view) for view in views])


async def _in_partition(call: Call, partition: int) -> list[ScheduleView]:
    replies = await engine_calls.ask(call, queries.GetSchedules, "schedules", partition=partition)
    return [view for reply in replies for view in reply.schedules]


async def put(call: Call) -> Response:
    """PUT /schedules/:name: create or change a schedule."""
    name = call.segment("name")
    schedule = plan_of(call.parameters, call.user_id, name, call.engine)
    schedule_id = ids.schedule_id(call.user_id, name)
    view = await engine_calls.change(
        call,
        commands.PutSchedule,
        schedule_id,
        f"schedule {name}",
        schedule_id=schedule_id,
        schedule=schedule,
        paused=call.parameters.flag("paused"),
    )
    return answer(_schedule_json(view))


def plan_of(parameters: Parameters, user_id: bytes, name: str, engine: Engine) -> NewSchedule:
    """The schedule of this user and name that is asked for. 400."""
    if not name.strip() or "\0" in name:
        raise errors.invalid("name is missing: the schedule's")
    if _id(name) is not None:
        raise errors.invalid(f"The name {name} is a schedule's id: the other calls would take it for that schedule")
    workflow, signal = parameters.text("workflow"), parameters.text("signal")
    if workflow is None or signal is None or "subject" not in parameters:
        missing = "workflow" if workflow is None else "signal" if signal is None else "subject"
        raise errors.invalid(f"{missing} is missing")
    try:
        subject = subject_text(parameters.value("subject"))
    except ValueError as error:
        raise errors.invalid(str(error)) from error
    times = {
        "cron": parameters.text("cron"),
        "zone": parameters.text("zone"),
        "interval_seconds": parameters.number("interval"),
        "offset_seconds": parameters.number("offset"),
        "catch_up_seconds": parameters.number("catch_up"),
        "overlap": _overlap(parameters),
    }
    decider = parameters.text("decider") or workflow
    plan = NewSchedule(
        user_id=user_id,
        name=name,
        workflow=NewWorkflow(user_id=user_id, name=workflow, subject=subject, decider=decider),
        node=_signal(parameters, signal, _client(parameters, user_id, engine)),
        **{key: value for key, value in times.items() if value is not None},  # type: ignore[arg-type]  # each its own
    )
    if times["interval_seconds"] == 0:
        raise errors.invalid(f"interval is 0; {INTERVAL_SECONDS_MIN:g} is the least")
    if not plan.cron and not plan.interval_seconds:
        raise errors.invalid("cron or interval is missing")
    try:
        times_after(plan, int(time.time() * 1000))
    except RecurrenceError as error:
        raise errors.invalid(str(error)) from error
    return plan


def _signal(parameters: Parameters, name: str, runner_id: bytes) -> NewNode:
    """The signal of each run."""
    client_data, metadata = parameters.untouched_object("client_data"), parameters.untouched("metadata")
    retries, backoff = parameters.whole_number("retries"), parameters.number("backoff")
    given = {
        "client_data": client_data or None,
        "metadata": metadata or None,
        "retries": retries,
        "retry_interval_seconds": backoff,
        # A call of our own: nobody relies on the original's waits.
        "backoff": backoff_of(parameters) or Backoff(),
    }
    return NewNode(
        name=name,
        user_id=runner_id,
        type="decision",
        priority=priority_of(parameters),
        fairness_key=parameters.text("fairness_key"),
        **{key: value for key, value in given.items() if value is not None},  # type: ignore[arg-type]  # as above
    )


def _client(parameters: Parameters, user_id: bytes, engine: Engine) -> bytes:
    """Id of the client application that runs the signals, by its name or id; default: the schedule's own."""
    client = parameters.text("client")
    if client is None:
        return user_id
    client_id = find_id(client)
    registered = engine.registry.by_name(client) if client_id is None else engine.client(client_id)
    if registered is None:
        raise errors.invalid(f"There is no client application {client[:64]!r} (client)")
    return registered.id_bytes


def _overlap(parameters: Parameters) -> Overlap | None:
    value = parameters.text("overlap")
    if value is None:
        return None
    overlap = OVERLAP_WORDS.get(value)
    if overlap is None:
        raise errors.invalid(f"There is no overlap {value[:64]!r}; there are {', '.join(OVERLAP_WORDS)}")
    return overlap


async def show(call: Call) -> Response:
    """GET /schedules/:name."""
    return answer(_schedule_json(await _get(call)))


async def pause(call: Call) -> Response:
    """PUT /schedules/:name/pause."""
    return await _change(call, "pause")


async def resume(call: Call) -> Response:
    """PUT /schedules/:name/resume."""
    return await _change(call, "resume")


async def delete(call: Call) -> Response:
    """DELETE /schedules/:name."""
    return await _change(call, "delete")


async def trigger(call: Call) -> Response:
    """POST /schedules/:name/trigger: a run now."""
    return await _run(call, ())


async def backfill(call: Call) -> Response:
    """POST /schedules/:name/backfill: a run for each due time in a range, or for the given times."""
    parameters = call.parameters
    times, start, end = _times(call), parameters.time("start"), parameters.time("end")
    if times is not None and (start, end) != (None, None):
        raise errors.invalid("`times` stands instead of `start` and `end`: give one or the other")
    if times is None:
        if start is None or end is None:
            raise errors.invalid(f"{'start' if start is None else 'end'} is missing")
        plan = (await _get(call)).plan
        try:
            times = tuple(times_between(plan, start, end, BACKFILL_MAX))
        except (RecurrenceError, TooManyTimesError) as error:
            raise errors.invalid(str(error)) from error
    if not times:
        raise errors.invalid("The schedule is never due in this range")
    return await _run(call, times)


def _times(call: Call) -> tuple[int, ...] | None:
    """The given times, sorted."""
    values = call.parameters.value("times")
    if values is None:
        return None
    times = (
        [to_milliseconds(at) if isinstance(at, str) else None for at in values] if isinstance(values, list) else [None]
    )
    if not times or None in times:
        raise errors.invalid("times must be a list of ISO 8601 times, for example 2026-01-31T12:00:00Z")
    return tuple(sorted({at for at in times if at is not None}))


async def _get(call: Call) -> ScheduleView:
    schedule_id, target = _named(call)
    (view,) = await engine_calls.ask(call, queries.GetSchedule, target, schedule_id=schedule_id)
    assert isinstance(view, ScheduleView)
    return view


async def _change(call: Call, change: str) -> Response:
    schedule_id, target = _named(call)
    note = call.parameters.text("note") or ""
    await engine_calls.change(
        call, commands.ChangeSchedule, schedule_id, target, schedule_id=schedule_id, change=change, note=note
    )
    return success()


async def _run(call: Call, times: tuple[int, ...]) -> Response:
    schedule_id, target = _named(call)
    view = await engine_calls.change(
        call,
        commands.RunSchedule,
        schedule_id,
        target,
        schedule_id=schedule_id,
        times=times,
        overlap=_overlap(call.parameters),
    )
    return answer(_schedule_json(redacted(call, view)))


def _named(call: Call) -> tuple[bytes, str]:
    """A schedule's id, from its name or id in the path, and its designation in errors."""
    name = call.segment("name")
    return _id(name) or ids.schedule_id(call.user_id, name), f"schedule {name}"


def _id(name: str) -> bytes | None:
    """The id in place of a name; None if it is a name."""
    identity = find_id(name)
    return identity if identity is not None and ids.is_ours(identity) else None
