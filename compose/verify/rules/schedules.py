"""Schedules: runs are signals at times, and overlap by rules. The times come in the command that is due."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import msgspec

from backbeat.compose.verify.avro import Command
from backbeat.compose.verify.rules.checks import (
    INVALID,
    LIMIT,
    NOT_FOUND,
    Refused,
    check_node,
    check_text,
    check_workflow,
    timeout_of,
)
from backbeat.compose.verify.rules.records import Run, Schedule
from backbeat.compose.verify.rules.work import Rule, Work
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import TIME_MAX

QUEUED, RUNNING, ENDED, CANCELED, SKIPPED, MISSED = range(6)
DUE, TRIGGER, BACKFILL = range(3)
_RUNNING_MAX, _QUEUED_MAX, _RECENT_MAX, _BACKFILL_MAX = 100, 1_000, 20, 1_000
_SECONDS_MAX = 10 * 365 * 86_400.0
_TEXT_BYTES_MAX = 256
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


# --- commands --------------------------------------------------------------------------------------------------------


def on_put_schedule(work: Work, command: Command) -> None:
    """Make a schedule, or change it."""
    plan, schedules = command["schedule"], work.partition.schedules
    own_id = ids.schedule_id(plan["user_id"], plan["name"])
    if own_id != command["schedule_id"] or command["user_id"] not in (None, plan["user_id"]):
        raise Refused(NOT_FOUND)
    _check(work, plan)
    schedule = schedules.get(own_id)
    if schedule is None:
        schedule = schedules[own_id] = Schedule(
            id=own_id,
            plan=plan,
            made_by=command["id"],
            created_at=work.now,
            updated_at=work.now,
            after=work.now,
            paused=bool(command["paused"]),
        )
        _ask_for_times(work, schedule)
    else:
        paused = schedule.paused if command["paused"] is None else command["paused"]
        same = all(schedule.plan[name] == plan[name] for name in ("cron", "zone", "interval_seconds", "offset_seconds"))
        keeps_times = same and schedule.paused == paused and not schedule.problem
        if schedule.paused != paused:
            schedule.note = ""
        schedule.plan, schedule.paused, schedule.updated_at = plan, paused, work.now
        if not keeps_times:
            _ask_for_times(work, schedule)
        _start_queued(work, schedule)
    work.answer()


def on_change_schedule(work: Work, command: Command) -> None:
    """Pause, resume or delete a schedule."""
    schedule, change = _own(work, command), command["change"]
    if change == "delete":
        del work.partition.schedules[schedule.id]
        work.answer()
        return
    if change not in ("pause", "resume"):
        raise Refused(INVALID)
    check_text(command["note"] or "none", work.settings["name_bytes_max"])
    paused = change == "pause"
    if schedule.paused != paused:
        schedule.paused, schedule.note, schedule.updated_at = paused, command["note"], work.now
        _ask_for_times(work, schedule)
        _start_queued(work, schedule)
    work.answer()


def on_run_schedule(work: Work, command: Command) -> None:
    """A run now, or a backfill."""
    schedule, times, overlap = _own(work, command), command["times"], command["overlap"]
    if len(times) > _BACKFILL_MAX:
        raise Refused(LIMIT)
    if any(later <= earlier for earlier, later in zip([-1, *times], [*times, TIME_MAX + 1], strict=True)):
        raise Refused(INVALID)
    if times:
        _run(work, schedule, times, BACKFILL, overlap or "queue")
    else:
        _run(work, schedule, [work.now], TRIGGER, overlap or schedule.plan["overlap"])
    work.answer()


def _own(work: Work, command: Command) -> Schedule:
    schedule = work.partition.schedules.get(command["schedule_id"])
    if schedule is None or command["user_id"] not in (None, schedule.plan["user_id"]):
        raise Refused(NOT_FOUND)
    return schedule


def _ask_for_times(work: Work, schedule: Schedule) -> None:
    schedule.after, schedule.next_at, schedule.problem, schedule.timer_at = work.now, None, "", None
    if not schedule.paused:
        _set_timer(schedule, work.now)


def _set_timer(schedule: Schedule, due: int) -> None:
    schedule.timer_number += 1
    schedule.timer_at = due


def on_schedule_due(work: Work, command: Command) -> None:
    """Times of a schedule have come."""
    schedule = work.partition.schedules.get(command["schedule_id"])
    if schedule is None or schedule.timer_at is None or schedule.timer_number != command["number"]:
        return
    if work.now < schedule.timer_at:
        return
    schedule.timer_at = None
    next_at = next((at for at in command["times"] if at > work.now), command["next_at"])
    oldest = work.now - int(schedule.plan["catch_up_seconds"] * 1000)
    times = [at for at in command["times"] if schedule.after < at <= work.now]
    late = [at for at in times if at < oldest]
    _leave_out(work, schedule, late, DUE, MISSED)
    _run(work, schedule, times[len(late) :], DUE, schedule.plan["overlap"])
    schedule.after = max([schedule.after, *times[-1:]])
    schedule.problem, schedule.next_at = command["problem"], next_at
    if next_at is not None:
        _set_timer(schedule, next_at)


def run_ended(work: Work, schedule: Schedule, node_id: bytes) -> None:
    """The node of a run is closed, or was never made."""
    ended = [run for run in schedule.running if run.node_id == node_id]
    if ended:
        _end(work, schedule, ended, ENDED)
        _start_queued(work, schedule)


# --- runs ------------------------------------------------------------------------------------------------------------


def _run(work: Work, schedule: Schedule, times: list[int], cause: int, overlap: str) -> None:
    if overlap == "cancel" and times:
        _leave_out(work, schedule, times[:-1], cause, SKIPPED)
        for run in schedule.running:
            work.send("ChangeNode", {"node_id": run.node_id, "status": "canceled"})
        _end(work, schedule, schedule.running, CANCELED)
        times = times[-1:]
    for at in times:
        free = not schedule.running and not schedule.queued
        if free or overlap == "cancel" or (overlap == "allow" and len(schedule.running) < _RUNNING_MAX):
            _start(work, schedule, at, cause)
        elif overlap == "queue" and len(schedule.queued) < _QUEUED_MAX:
            schedule.queued.append(Run(at, cause, QUEUED, work.now))
        else:
            _leave_out(work, schedule, [at], cause, SKIPPED)


def _start(work: Work, schedule: Schedule, at: int, cause: int) -> None:
    parts = (schedule.made_by, schedule.created_at.to_bytes(8, "big"), schedule.started.to_bytes(8, "big"))
    identity = ids.command_id(b"schedule", schedule.id, *parts)
    schedule.started += 1
    signal = _signal(schedule.plan, schedule.id, at, identity)
    work.send("Signal", signal)
    node_id = ids.node_id(signal["workflow_id"], identity, 0)
    schedule.running.append(Run(at, cause, RUNNING, work.now, work.now, signal["workflow_id"], node_id))


def _start_queued(work: Work, schedule: Schedule) -> None:
    if schedule.queued and not schedule.running and not schedule.paused:
        run = schedule.queued.pop(0)
        _start(work, schedule, run.scheduled_at, run.cause)


def _end(work: Work, schedule: Schedule, runs: list[Run], state: int) -> None:
    over = {run.node_id for run in runs}
    schedule.recent += [msgspec.structs.replace(run, state=state, at=work.now) for run in runs]
    schedule.running = [run for run in schedule.running if run.node_id not in over]
    del schedule.recent[:-_RECENT_MAX]


def _leave_out(work: Work, schedule: Schedule, times: list[int], cause: int, state: int) -> None:
    if not times:
        return
    if state == MISSED:
        schedule.missed += len(times)
    else:
        schedule.skipped += len(times)
    last = schedule.recent[-1] if schedule.recent else None
    if last is not None and (last.state, last.cause) == (state, cause):
        last.count, last.last_at, last.at = last.count + len(times), times[-1], work.now
        return
    last_at = times[-1] if len(times) > 1 else None
    schedule.recent.append(Run(times[0], cause, state, work.now, count=len(times), last_at=last_at))
    del schedule.recent[:-_RECENT_MAX]


def _signal(plan: Command, schedule_id: bytes, at: int, identity: bytes) -> Command:
    time_text = (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds" if at % 1000 else "seconds")
    time_text = time_text.replace("+00:00", "Z")
    workflow = {
        **plan["workflow"],
        "subject": plan["workflow"]["subject"].replace(b"{scheduled_at}", time_text.encode()),
    }
    metadata = _OBJECT.decode(plan["node"]["metadata"])
    metadata["schedule"] = msgspec.Raw(msgspec.json.encode({"name": plan["name"], "scheduled_at": time_text}))
    node = {**plan["node"], "metadata": msgspec.json.encode(metadata), "parent_link_id": schedule_id}
    workflow_id = ids.workflow_id(workflow["user_id"], workflow["name"], workflow["subject"])
    return {"id": identity, "workflow_id": workflow_id, "node": node, "workflow": workflow, "link_open": True}


# --- checks ----------------------------------------------------------------------------------------------------------


def _check(work: Work, plan: Command) -> None:
    settings, node = work.settings, plan["node"]
    check_text(plan["name"], settings["name_bytes_max"])
    wrong = (
        bool(plan["cron"]) == bool(plan["interval_seconds"])
        or len(plan["cron"].encode()) > _TEXT_BYTES_MAX
        or len(plan["zone"].encode()) > _TEXT_BYTES_MAX
        or (not plan["cron"] and not _within(plan["interval_seconds"], 1.0))
        or not _within(plan["offset_seconds"], 0.0)
        or not _within(plan["catch_up_seconds"], 10.0)
        or node["parent_link_id"] is not None
        or node["fires_at"] is not None
        or plan["workflow"]["user_id"] != plan["user_id"]
    )
    if wrong:
        raise Refused(INVALID)
    check_node(node, settings)
    if any(row["kind"] == "undo" for row in node["follow_ups"]):
        raise Refused(INVALID)
    if node["takes"] or not node["metadata"].lstrip().startswith(b"{"):
        raise Refused(INVALID)
    timeout_of(node["client_data"], settings)
    sample = _signal(plan, bytes(16), work.now, bytes(16))
    check_node(sample["node"], settings)
    check_workflow(sample["workflow"], settings)


def _within(seconds: float, least: float) -> bool:
    return math.isfinite(seconds) and least <= seconds <= _SECONDS_MAX


SCHEDULE_RULES: dict[str, Rule] = {
    "PutSchedule": on_put_schedule,
    "ChangeSchedule": on_change_schedule,
    "RunSchedule": on_run_schedule,
    "ScheduleDue": on_schedule_due,
}
