"""Runs of schedules, and the commands on schedules.

A run is a signal, linked to its schedule as to a waiting node: when the signal's node is complete or deactivated, or
the signal was refused, a CloseLink comes back. So a run whose retries are exhausted is running until it is resolved or
restarted, and overlap policies count it.

Times are never computed here: they come with `commands.ScheduleDue`, and the core has the spec as text only. A
schedule stores the time up to which they are handled (`after`), and the engine computes them from there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import TIME_MAX
from backbeat.schemas.messages.commands import (
    ChangeNode,
    ChangeSchedule,
    CloseLink,
    PutSchedule,
    RunSchedule,
    ScheduleDue,
    Signal,
)
from backbeat.schemas.messages.replies import Done, Reason
from backbeat.schemas.messages.schedules import (
    BACKFILL_MAX,
    CATCH_UP_SECONDS_MIN,
    INTERVAL_SECONDS_MIN,
    QUEUED_MAX,
    RECENT_MAX,
    RUNNING_MAX,
    SECONDS_MAX,
    NewSchedule,
    Overlap,
    RunCause,
    RunState,
    ScheduleRun,
)
from backbeat.schemas.messages.values import FollowUpKind, TimerKind
from backbeat.streams.core.checks import check_node, check_text, check_workflow, timeout_of
from backbeat.streams.core.effects import Send
from backbeat.streams.core.schedules.schedule import Schedule, schedule_view
from backbeat.streams.core.step import Refused, Step, refuse
from backbeat.streams.core.tables import SCHEDULES
from backbeat.streams.core.timers import fired_early

#: Placeholder of a run's scheduled time in a workflow's subject.
PLACEHOLDER = b"{scheduled_at}"
#: Key of a run's metadata with its schedule's name and the scheduled time.
METADATA_KEY = "schedule"
_CRON_BYTES_MAX = 256

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


# --- commands --------------------------------------------------------------------------------------------------------


def put(step: Step, command: PutSchedule) -> None:
    """Create or change a schedule. A change that keeps its times keeps its next one."""
    plan = command.schedule
    if ids.schedule_id(plan.user_id, plan.name) != command.schedule_id or command.user_id not in (None, plan.user_id):
        raise refuse(Reason.NOT_FOUND, "The schedule's id is not that of its user and name", wanted="the id of both")
    _check(step, plan)
    schedule = step.transaction.edit(SCHEDULES, command.schedule_id)
    if schedule is None:
        schedule = Schedule(
            id=command.schedule_id,
            plan=plan,
            made_by=command.id,
            created_at=step.now,
            updated_at=step.now,
            after=step.now,
            paused=bool(command.paused),
        )
        step.transaction.add(SCHEDULES, schedule.id, schedule)
        _request_times(step, schedule)
    else:
        paused = schedule.paused if command.paused is None else command.paused
        keeps_times = _times(schedule.plan) == _times(plan) and schedule.paused == paused and not schedule.problem
        if schedule.paused != paused:
            schedule.note = ""
        schedule.plan, schedule.paused, schedule.updated_at = plan, paused, step.now
        if not keeps_times:
            _request_times(step, schedule)
        _start_queued(step, schedule)
    step.reply(schedule_view(schedule))


def change(step: Step, command: ChangeSchedule) -> None:
    """Pause, resume or delete. Times that passed while it was paused are not made up for."""
    schedule = _own(step, command.schedule_id)
    match command.change:
        case "delete":
            step.transaction.delete(SCHEDULES, schedule.id)
            step.reply(Done())
            return
        case "pause" | "resume" as change:
            check_text("note", command.note or "none", step.settings.name_bytes_max)
            paused = change == "pause"
            changed = schedule.paused != paused
        case other:
            message = f"A schedule cannot be told to {other}"
            raise refuse(Reason.INVALID_PARAMETERS, message, found=other, wanted="pause, resume or delete")
    if changed:
        schedule.paused, schedule.note, schedule.updated_at = paused, command.note, step.now
        _request_times(step, schedule)
        _start_queued(step, schedule)
    step.reply(Done(changed=changed))


def trigger(step: Step, command: RunSchedule) -> None:
    """Trigger or backfill runs. Overlap policies count them as any other; a paused schedule starts them, too."""
    schedule = _own(step, command.schedule_id)
    times = command.times
    if len(times) > BACKFILL_MAX:
        message = f"{len(times)} times in one command; {BACKFILL_MAX} are the most. Send more in further commands"
        raise refuse(Reason.LIMIT_EXCEEDED, message, found=str(len(times)), wanted=f"at most {BACKFILL_MAX}")
    if any(later <= earlier for earlier, later in zip((-1, *times), (*times, TIME_MAX + 1), strict=True)):
        message = "The times of a backfill are in order, each once, from 1970 to the year 9999"
        raise refuse(Reason.INVALID_PARAMETERS, message, found="others", wanted="ascending times")
    if times:
        overlap = Overlap.QUEUE if command.overlap is None else command.overlap
        _run(step, schedule, times, RunCause.BACKFILL, overlap)
    else:
        overlap = schedule.plan.overlap if command.overlap is None else command.overlap
        _run(step, schedule, (step.now,), RunCause.TRIGGER, overlap)
    step.reply(schedule_view(schedule))


def _own(step: Step, schedule_id: bytes) -> Schedule:
    """A schedule that the caller may change. Refused, as not found: another client's."""
    schedule = step.transaction.edit(SCHEDULES, schedule_id)
    caller = step.command.user_id
    if schedule is None or (caller is not None and caller != schedule.plan.user_id):
        raise refuse(
            Reason.NOT_FOUND, f"No schedule has the id {schedule_id.hex()}", found="nothing", wanted="a schedule"
        )
    return schedule


def _times(plan: NewSchedule) -> tuple[str, str, float, float]:
    """The fields on which its times depend."""
    return plan.cron, plan.zone, plan.interval_seconds, plan.offset_seconds


def _request_times(step: Step, schedule: Schedule) -> None:
    """Have the times from now on computed, by a timer that is due at once; a paused schedule has none."""
    schedule.timer_at = None
    schedule.after, schedule.next_at, schedule.problem = step.now, None, ""
    if not schedule.paused:
        step.set_timer(schedule, step.now, TimerKind.SCHEDULE)


# --- events ----------------------------------------------------------------------------------------------------------


def due(step: Step, command: ScheduleDue) -> None:
    """Start the runs of due times, and set the timer of the next one."""
    schedule = step.transaction.edit(SCHEDULES, command.schedule_id)
    if schedule is None or schedule.timer_at is None or schedule.timer_number != command.number:
        step.ignore("a timer that no longer stands")
        return
    if fired_early(step, TimerKind.SCHEDULE, schedule.id, command.number):
        return
    schedule.timer_at = None
    # The engine's estimate of the broker's time may have been ahead: a time still to come is the next one.
    next_at = next((at for at in command.times if at > step.now), command.next_at)
    oldest = step.now - int(schedule.plan.catch_up_seconds * 1000)
    times = [at for at in command.times if schedule.after < at <= step.now]
    late = [at for at in times if at < oldest]
    _record_skipped(step, schedule, late, RunCause.DUE, RunState.MISSED)
    _run(step, schedule, times[len(late) :], RunCause.DUE, schedule.plan.overlap)
    schedule.after = max([schedule.after, *times[-1:]])
    schedule.problem, schedule.next_at = command.problem, next_at
    if next_at is not None:
        step.set_timer(schedule, next_at, TimerKind.SCHEDULE)


def run_ended(step: Step, command: CloseLink) -> bool:
    """End a run: its node is closed, or was never created. False: the link's target is no schedule."""
    schedule = step.transaction.edit(SCHEDULES, command.target_id)
    if schedule is None:
        return False
    ended = [run for run in schedule.running if run.node_id == command.child_id]
    if not ended:
        step.ignore("the end of a run that its schedule waits for no more")
        return True
    _end(step, schedule, ended, RunState.ENDED)
    _start_queued(step, schedule)
    return True


# --- runs ------------------------------------------------------------------------------------------------------------


def _run(step: Step, schedule: Schedule, times: Iterable[int], cause: RunCause, overlap: Overlap) -> None:
    """Start, queue or skip runs at these times, in order, by the overlap policy."""
    times = list(times)
    if overlap is Overlap.CANCEL and times:
        # Each of several would be canceled for the next: only the last is started.
        _record_skipped(step, schedule, times[:-1], cause, RunState.SKIPPED)
        for run in schedule.running:
            assert run.node_id is not None, "a run that runs has its node"
            cancel = ChangeNode(id=step.command.id, tid=step.command.tid, node_id=run.node_id, status="canceled")
            step.effects.append(Send(cancel))
        _end(step, schedule, schedule.running, RunState.CANCELED)
        times = times[-1:]
    for at in times:
        free = not schedule.running and not schedule.queued
        if free or overlap is Overlap.CANCEL or (overlap is Overlap.ALLOW and len(schedule.running) < RUNNING_MAX):
            _start(step, schedule, at, cause)
        elif overlap is Overlap.QUEUE and len(schedule.queued) < QUEUED_MAX:
            schedule.queued += (ScheduleRun(at, cause, RunState.QUEUED, step.now),)
        else:
            _record_skipped(step, schedule, [at], cause, RunState.SKIPPED)


def _start(step: Step, schedule: Schedule, at: int, cause: RunCause) -> None:
    """Signal the workflow. The command's id follows from the schedule and the count of its runs: each is made once.

    An id of an earlier run would be taken for a repeat, and the run would never end: so the id also has the command
    that created the schedule, and the time.
    """
    made_at, count = schedule.created_at.to_bytes(8, "big"), schedule.started.to_bytes(8, "big")
    identity = ids.command_id(b"schedule", schedule.id, schedule.made_by, made_at, count)
    schedule.started += 1
    signal = _signal(schedule.plan, schedule.id, at, identity, step.command.tid or identity.hex())
    step.effects.append(Send(signal))
    run = ScheduleRun(
        scheduled_at=at,
        cause=cause,
        state=RunState.RUNNING,
        at=step.now,
        started_at=step.now,
        workflow_id=signal.workflow_id,
        node_id=ids.node_id(signal.workflow_id, identity, 0),
    )
    schedule.running += (run,)


def _start_queued(step: Step, schedule: Schedule) -> None:
    """Start the next queued run, once those before it have ended; a paused schedule starts none."""
    if schedule.queued and not schedule.running and not schedule.paused:
        next_run, *later_runs = schedule.queued
        schedule.queued = tuple(later_runs)
        _start(step, schedule, next_run.scheduled_at, next_run.cause)


def _end(step: Step, schedule: Schedule, runs: Iterable[ScheduleRun], state: RunState) -> None:
    over = [msgspec.structs.replace(run, state=state, at=step.now) for run in runs]
    nodes = {run.node_id for run in over}
    schedule.running = tuple(run for run in schedule.running if run.node_id not in nodes)
    _remember(schedule, *over)


def _record_skipped(step: Step, schedule: Schedule, times: Iterable[int], cause: RunCause, state: RunState) -> None:
    """Record runs that were not started; consecutive ones share an entry."""
    times = list(times)
    if not times:
        return
    if state is RunState.MISSED:
        schedule.missed += len(times)
    else:
        schedule.skipped += len(times)
    last = schedule.recent[-1] if schedule.recent else None
    # One entry for consecutive ones: so an outage leaves room for the runs that were started.
    if last is not None and last.state is state and last.cause is cause:
        longer = msgspec.structs.replace(last, count=last.count + len(times), last_at=times[-1], at=step.now)
        schedule.recent = (*schedule.recent[:-1], longer)
    else:
        last_at = times[-1] if len(times) > 1 else None
        _remember(schedule, ScheduleRun(times[0], cause, state, step.now, count=len(times), last_at=last_at))


def _remember(schedule: Schedule, *runs: ScheduleRun) -> None:
    schedule.recent = (*schedule.recent, *runs)[-RECENT_MAX:]


def _signal(plan: NewSchedule, schedule_id: bytes, at: int, identity: bytes, tid: str) -> Signal:
    """The signal of the run that is scheduled for this time."""
    time_text = _text(at)
    workflow = msgspec.structs.replace(
        plan.workflow, subject=plan.workflow.subject.replace(PLACEHOLDER, time_text.encode())
    )
    metadata = _OBJECT.decode(plan.node.metadata)
    metadata[METADATA_KEY] = msgspec.Raw(msgspec.json.encode({"name": plan.name, "scheduled_at": time_text}))
    node = msgspec.structs.replace(plan.node, metadata=msgspec.json.encode(metadata), parent_link_id=schedule_id)
    return Signal(
        id=identity,
        user_id=plan.user_id,
        tid=tid,
        workflow_id=ids.workflow_id(workflow.user_id, workflow.name, workflow.subject),
        node=node,
        workflow=workflow,
        # The schedule knows of its run: nothing has to be opened.
        link_open=True,
    )


def _text(at: int) -> str:
    """`2026-03-29T01:00:00Z`; milliseconds only where there are some."""
    scheduled_at = _EPOCH + timedelta(milliseconds=at)
    return scheduled_at.isoformat(timespec="milliseconds" if at % 1000 else "seconds").replace("+00:00", "Z")


# --- checks ----------------------------------------------------------------------------------------------------------


def _check(step: Step, plan: NewSchedule) -> None:
    """Refuse a plan whose runs would be refused: those would be found in the dead letters only."""
    check_text("schedule's name", plan.name, step.settings.name_bytes_max)
    if bool(plan.cron) == bool(plan.interval_seconds):
        raise _wrong("A schedule has a cron expression or an interval", "both or neither", "one of them")
    if len(plan.cron.encode()) > _CRON_BYTES_MAX or len(plan.zone.encode()) > _CRON_BYTES_MAX:
        raise _wrong(f"A cron expression or zone has more than {_CRON_BYTES_MAX} bytes", "more", "a shorter one")
    if not plan.cron:
        _check_seconds("interval", plan.interval_seconds, INTERVAL_SECONDS_MIN, SECONDS_MAX)
    _check_seconds("offset", plan.offset_seconds, 0.0, SECONDS_MAX)
    _check_seconds("catch-up window", plan.catch_up_seconds, CATCH_UP_SECONDS_MIN, SECONDS_MAX)
    if plan.node.parent_link_id is not None or plan.node.fires_at is not None:
        raise _wrong("A schedule's signal has neither a link nor a time of its own", "one of them", "neither")
    if plan.workflow.user_id != plan.user_id:
        raise _wrong("A schedule signals workflows of its own user", "another's", "a workflow of the same user")
    check_node(step, plan.node)
    if not plan.node.metadata.lstrip().startswith(b"{"):
        # Each run adds an entry to it.
        raise _wrong("metadata is no JSON object, as a schedule's signal needs", "another value", "a JSON object")
    for follow_up in plan.node.follow_ups:
        if follow_up.kind is FollowUpKind.UNDO:
            raise _wrong("a schedule's signal has an undo: it is no step of anything", "undo", "failure or cancel")
    if plan.node.takes:
        raise _wrong("a schedule's signal takes results: those of no node are there for every run", "takes", "none")
    timeout_of(step, plan.node.client_data)
    sample = _signal(plan, bytes(16), step.now, bytes(16), "")
    check_node(step, sample.node)
    assert sample.workflow is not None, "a run's workflow is found or made"
    check_workflow(step, sample.workflow)


def _check_seconds(field: str, seconds: float, least: float, most: float) -> None:
    if not (math.isfinite(seconds) and least <= seconds <= most):
        raise _wrong(f"The {field} is {seconds:g} s", f"{seconds:g} s", f"{least:g} to {most:g} s")


def _wrong(message: str, found: str, wanted: str) -> Refused:
    return refuse(Reason.INVALID_PARAMETERS, message, found=found, wanted=wanted)
