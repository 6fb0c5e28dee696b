"""Calls for reports over the nodes of all users: the source of the command line's `stats`, `top` and `report`."""

from __future__ import annotations

import time

import msgspec
from aiohttp.web import Response

from backbeat.errors import Unavailable
from backbeat.gateway import engine_calls
from backbeat.gateway.api.search import freshened
from backbeat.gateway.api.shapes.engines import report_of as engine_report_of
from backbeat.gateway.api.shapes.queues import report_of
from backbeat.gateway.api.shapes.reports import FAILURE_GROUPS, FAILURE_KINDS, STUCK_HOURS
from backbeat.gateway.api.shapes.timeline import Timeline
from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call, answer
from backbeat.gateway.http.parameters import Parameters
from backbeat.gateway.projection.reading.siblings import child_counts
from backbeat.gateway.projection.reading.timeline import TimelinePart, timeline
from backbeat.payload.values import id_text
from backbeat.schemas.messages import queries

#: Longest window: its counts are read change by change.
WINDOW_SECONDS_MAX = 3_600
STUCK_HOURS_MAX = 100_000
CAUSES_DEFAULT = 100
CAUSES_MAX = 1_000
TIMELINE_DEFAULT = 200
TIMELINE_MAX = 1_000
NAMES_DEFAULT = 100
NAMES_MAX = 1_000

_DAY_MS = 86_400_000


async def summary(call: Call) -> Response:
    """GET /reports/summary: counts by workflow and activity, timers."""
    projection, headers = await freshened(call)
    return answer(msgspec.to_builtins(await projection.summary(), str_keys=True), headers=headers)


async def activities(call: Call) -> Response:
    """GET /reports/activities: activities at work, and their results in the last seconds."""
    seconds = call.parameters.number("seconds") or 0.0
    if seconds > WINDOW_SECONDS_MAX:
        raise errors.invalid(f"seconds is {seconds:g}; {WINDOW_SECONDS_MAX} is the most")
    projection, headers = await freshened(call)
    return answer(await projection.activities(seconds), headers=headers)


async def causes(call: Call) -> Response:
    """GET /reports/causes: the caller's failed nodes by cause."""
    limit, kinds = _limit(call.parameters), _kinds(call.parameters)
    projection, headers = await freshened(call)
    user_ids = None if call.client is None else [call.user_id]
    return answer(await projection.causes(user_ids, limit, kinds=kinds), headers=headers)


async def failures(call: Call) -> Response:
    """GET /reports/failures: the caller's failed nodes by activity, client or workflow."""
    limit, kinds = _limit(call.parameters), _kinds(call.parameters)
    by = call.parameters.raw_text("by") or FAILURE_GROUPS[0]
    if by not in FAILURE_GROUPS:
        raise errors.invalid(f"by is {by[:40]!r}; there are {', '.join(FAILURE_GROUPS)}")
    projection, headers = await freshened(call)
    user_ids = None if call.client is None else [call.user_id]
    return answer(await projection.failures(user_ids, by, limit, kinds), headers=headers)


def _limit(parameters: Parameters, default: int = CAUSES_DEFAULT, most: int = CAUSES_MAX) -> int:
    limit = parameters.whole_number("limit")
    if limit is None:
        return default
    if not 1 <= limit <= most:
        raise errors.invalid(f"limit is {limit}; 1 is the least and {most} the most")
    return limit


def _kinds(parameters: Parameters) -> list[str]:
    """Kinds of failed nodes, apart by commas; none: all."""
    kinds = [kind for kind in (parameters.raw_text("kind") or "").split(",") if kind]
    for kind in kinds:
        if kind not in FAILURE_KINDS:
            raise errors.invalid(f"kind is {kind[:40]!r}; there are {', '.join(FAILURE_KINDS)}")
    return kinds


async def queues(call: Call) -> Response:
    """GET /reports/queues: what waits in topics, and who takes it."""
    try:
        return answer(report_of(await call.services.backlog.read()))
    except Unavailable as error:
        raise errors.unavailable(str(error), "Backbeat::Unavailable") from error


async def engines(call: Call) -> Response:
    """GET /reports/engines: which engine has which partition, and how that stands."""
    views = await call.services.engine_views.read()
    return answer(engine_report_of(views, time.time_ns() // 1_000_000))


async def daily(call: Call) -> Response:
    """GET /reports/daily: results of nodes from `since` to `until` (default: the last day), and stuck nodes."""
    parameters = call.parameters
    until = parameters.time("until")
    if until is None:
        until = time.time_ns() // 1_000_000
    since = parameters.time("since")
    if since is None:
        since = max(0, until - _DAY_MS)
    if since > until:
        raise errors.invalid("since is later than until")
    stuck_hours = parameters.number("stuck_hours")
    if stuck_hours is None:
        stuck_hours = STUCK_HOURS
    if stuck_hours > STUCK_HOURS_MAX:
        raise errors.invalid(f"stuck_hours is {stuck_hours:g}; {STUCK_HOURS_MAX} is the most")
    projection, headers = await freshened(call)
    return answer(await projection.daily(since, until, stuck_hours), headers=headers)


async def timeline_of(call: Call) -> Response:
    """GET /workflows/:id/timeline: the nodes at the top of a workflow, or right below one, and the critical path."""
    parameters = call.parameters
    limit = _limit(parameters, TIMELINE_DEFAULT, TIMELINE_MAX)
    below, name = parameters.uuid("below"), parameters.text("name")
    if name is not None and below is None:
        raise errors.invalid("name is of nodes below one: say below, too")
    part = TimelinePart(
        limit=limit, below=below, after=parameters.uuid("after"), name=name, folds=bool(parameters.flag("fold"))
    )
    workflow = await engine_calls.get_workflow(call, call.path_id())
    projection, headers = await freshened(call)
    spans = await projection.read(lambda connection: timeline(connection, workflow.id, part))
    # A workflow without nodes, or of a moment ago.
    nothing = Timeline(at=time.time_ns() // 1_000_000, nodes=[], groups=[], next=None, critical_path=[])
    return answer(spans or nothing, headers=headers)


async def child_counts_of(call: Call) -> Response:
    """GET /activities/:id/child_counts: how many nodes of each name are right below an activity, by status."""
    limit = _limit(call.parameters, NAMES_DEFAULT, NAMES_MAX)
    node_id = call.path_id()
    # Whoever may list them may count them: that is the engine's to say.
    await engine_calls.ask(call, queries.GetChildren, f"node {id_text(node_id)}", parent_id=node_id, limit=1)
    projection, headers = await freshened(call)
    return answer(await projection.read(lambda connection: child_counts(connection, node_id, limit)), headers=headers)
