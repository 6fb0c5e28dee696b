"""Schedules over HTTP: commands as calls, and what a gateway says as the core's own values."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from backbeat.payload.values import id_text, to_datetime
from backbeat.schemas.messages import commands
from backbeat.schemas.messages.commands import NewNode, NewSchedule, NewWorkflow
from backbeat.schemas.messages.schedules import OVERLAP_WORDS, RunCause, RunState, ScheduleRun, ScheduleView
from backbeat.schemas.messages.status import word
from backbeat.transport.http_values import decode, milliseconds, to_bytes
from backbeat.transport.http_words import HttpCall

_encode = msgspec.json.Encoder().encode


class _Run(msgspec.Struct, rename="camel", gc=False):
    scheduled_at: datetime
    cause: str
    state: str
    at: datetime
    started_at: datetime | None
    workflow_id: str | None
    node_id: str | None
    count: int
    last_at: datetime | None


class _Schedule(msgspec.Struct, rename="camel", gc=False):
    id: str
    name: str
    user_id: str
    workflow: str
    subject: msgspec.Raw
    decider: str
    signal: str
    client_id: str
    client_data: msgspec.Raw
    metadata: msgspec.Raw
    retry: int
    retry_interval: float
    priority: int | None
    fairness_key: str | None
    cron: str | None
    zone: str
    interval: float | None
    offset: float
    overlap: str
    catch_up: float
    paused: bool
    note: str
    problem: str
    created_at: datetime
    updated_at: datetime
    after: datetime
    next_at: datetime | None
    started: int
    skipped: int
    missed: int
    running: list[_Run]
    queued: list[_Run]
    queued_count: int
    past: list[_Run]


def put_call(command: commands.PutSchedule) -> HttpCall:
    """Make or change a schedule."""
    plan = command.schedule
    node = plan.node
    said: dict[str, Any] = {
        "workflow": plan.workflow.name,
        "subject": msgspec.Raw(plan.workflow.subject),
        "decider": plan.workflow.decider,
        "signal": node.name,
        "client_id": id_text(node.user_id),
        "client_data": msgspec.Raw(node.client_data),
        "metadata": msgspec.Raw(node.metadata),
        "retry": node.retries,
        "retry_interval": node.retry_interval_seconds,
        "priority": node.priority,
        "fairness_key": node.fairness_key,
        "cron": plan.cron or None,
        "zone": plan.zone,
        "interval": plan.interval_seconds or None,
        "offset": plan.offset_seconds,
        "overlap": word(plan.overlap),
        "catch_up": plan.catch_up_seconds,
        "paused": command.paused,
    }
    return HttpCall("PUT", f"/schedules/{quote(plan.name, safe='')}", _encode(said))


def change_call(command: commands.ChangeSchedule) -> HttpCall:
    """Pause, resume or delete one."""
    path = schedule_path(command.schedule_id)
    note = {"note": command.note} if command.note else None
    if command.change == "delete":
        return HttpCall("DELETE", path)
    return HttpCall("PUT", f"{path}/{command.change}", query=note)


def run_call(command: commands.RunSchedule) -> HttpCall:
    """A run now, or a backfill."""
    said: dict[str, Any] = {} if command.overlap is None else {"overlap": word(command.overlap)}
    if not command.times:
        return HttpCall("POST", f"{schedule_path(command.schedule_id)}/trigger", _encode(said))
    said["times"] = [to_datetime(at).isoformat(timespec="milliseconds") for at in command.times]
    return HttpCall("POST", f"{schedule_path(command.schedule_id)}/backfill", _encode(said))


def schedule_path(schedule_id: bytes) -> str:
    """Where a schedule is: a gateway finds it by its id, too."""
    return f"/schedules/{id_text(schedule_id)}"


def read_schedule(text: bytes) -> ScheduleView:
    """A schedule."""
    return _schedule(decode(text, _Schedule))


def read_schedules(text: bytes) -> tuple[ScheduleView, ...]:
    """A list of schedules."""
    return tuple(_schedule(one) for one in decode(text, list[_Schedule]))


def _schedule(said: _Schedule) -> ScheduleView:
    user_id = to_bytes(said.user_id)
    return ScheduleView(
        id=to_bytes(said.id),
        plan=NewSchedule(
            user_id=user_id,
            name=said.name,
            cron=said.cron or "",
            zone=said.zone,
            interval_seconds=said.interval or 0.0,
            offset_seconds=said.offset,
            workflow=NewWorkflow(
                user_id=user_id, name=said.workflow, subject=bytes(said.subject), decider=said.decider
            ),
            node=NewNode(
                name=said.signal,
                user_id=to_bytes(said.client_id),
                type="decision",
                client_data=bytes(said.client_data),
                metadata=bytes(said.metadata),
                retry_interval_seconds=said.retry_interval,
                retries=said.retry,
                priority=said.priority,
                fairness_key=said.fairness_key,
            ),
            overlap=OVERLAP_WORDS[said.overlap],
            catch_up_seconds=said.catch_up,
        ),
        created_at=milliseconds(said.created_at),
        updated_at=milliseconds(said.updated_at),
        after=milliseconds(said.after),
        paused=said.paused,
        note=said.note,
        next_at=None if said.next_at is None else milliseconds(said.next_at),
        problem=said.problem,
        started=said.started,
        skipped=said.skipped,
        missed=said.missed,
        running=tuple(_run(one) for one in said.running),
        queued=tuple(_run(one) for one in said.queued),
        queued_count=said.queued_count,
        recent=tuple(_run(one) for one in said.past),
    )


def _run(said: _Run) -> ScheduleRun:
    return ScheduleRun(
        scheduled_at=milliseconds(said.scheduled_at),
        cause=RunCause[said.cause.upper()],
        state=RunState[said.state.upper()],
        at=milliseconds(said.at),
        started_at=None if said.started_at is None else milliseconds(said.started_at),
        workflow_id=None if said.workflow_id is None else to_bytes(said.workflow_id),
        node_id=None if said.node_id is None else to_bytes(said.node_id),
        count=said.count,
        last_at=None if said.last_at is None else milliseconds(said.last_at),
    )
