"""What happens to schedules: made, changed, due, run.

A run is a signal, linked to its schedule as to a node that waits for it: when the signal's node is complete or
deactivated, or the signal was refused, a CloseLink comes back. So a run whose retries are exhausted is running until
somebody mends it, and overlap means what it says.

Which times there are is never worked out here (`commands.ScheduleDue`): the core knows the spec as text only. A
schedule remembers up to which time it has dealt with them, and whoever works them out goes on from there.
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
    SECONDS_MAX,
    NewSchedule,
    Overlap,
    RunCause,
    RunState,
    ScheduleRun,
)
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.checks import check_node, check_text, check_workflow, timeout_of
from backbeat.streams.core.effects import Send
from backbeat.streams.core.schedules.schedule import QUEUED_MAX, RECENT_MAX, RUNNING_MAX, Schedule, schedule_view
from backbeat.streams.core.step import Refused, Step, refuse
from backbeat.streams.core.tables import SCHEDULES
from backbeat.streams.core.timers import fired_early

#: In a workflow's subject: what stands for a run's scheduled time.
PLACEHOLDER = b"{scheduled_at}"
#: The key of a run's metadata that says which schedule it is of.
METADATA_KEY = "schedule"
_CRON_BYTES_MAX = 256

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


# --- what is asked ---------------------------------------------------------------------------------------------------


def put(step: Step, command: PutSchedule) -> None:
    """Make a schedule or change it. Where its times stay the same, a change leaves the next one as it is."""
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
        _work_out(step, schedule)
    else:
        paused = schedule.paused if command.paused is None else command.paused
        same = _times(schedule.plan) == _times(plan) and schedule.paused == paused and not schedule.problem
        if schedule.paused != paused:
            schedule.note = ""
        schedule.plan, schedule.paused, schedule.updated_at = plan, paused, step.now
        if not same:
            _work_out(step, schedule)
        _start_queued(step, schedule)
    step.reply(schedule_view(schedule))


def change(step: Step, command: ChangeSchedule) -> None:
    """Pause, resume or delete. What was due while it was paused is not made up for: it counts as not due."""
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
        _work_out(step, schedule)
        _start_queued(step, schedule)
    step.reply(Done(changed=changed))


def trigger(step: Step, command: RunSchedule) -> None:
    """Runs that somebody asks for. They count as any other for overlap, and a paused schedule makes them, too."""
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
    """The schedule, if the caller may touch it: another's is not found."""
    schedule = step.transaction.edit(SCHEDULES, schedule_id)
    caller = step.command.user_id
    if schedule is None or (caller is not None and caller != schedule.plan.user_id):
        raise refuse(
            Reason.NOT_FOUND, f"No schedule has the id {schedule_id.hex()}", found="nothing", wanted="a schedule"
        )
    return schedule


def _times(plan: NewSchedule) -> tuple[str, str, float, float]:
    """What its times depend on."""
    return plan.cron, plan.zone, plan.interval_seconds, plan.offset_seconds


def _work_out(step: Step, schedule: Schedule) -> None:
    """Have the times from now on worked out, by a timer that is due at once; a paused schedule has none."""
    step.clear_timer(schedule)
    schedule.after, schedule.next_at, schedule.problem = step.now, None, ""
    if not schedule.paused:
        step.set_timer(schedule, step.now, TimerKind.SCHEDULE)


# --- what happens ----------------------------------------------------------------------------------------------------


def due(step: Step, command: ScheduleDue) -> None:
    """Times have come, or the next one was worked out."""
    schedule = step.transaction.edit(SCHEDULES, command.schedule_id)
    if schedule is None or schedule.timer_at is None or schedule.timer_number != command.number:
        step.ignore("a timer that no longer stands")
        return
    if fired_early(step, TimerKind.SCHEDULE, schedule.id, command.number):
        return
    step.clear_timer(schedule)
    # Whoever worked them out may have been ahead of the broker's time: what has not come yet is the next one.
    to_come = next((at for at in command.times if at > step.now), command.next_at)
    oldest = step.now - int(schedule.plan.catch_up_seconds * 1000)
    times = [at for at in command.times if schedule.after < at <= step.now]
    late = [at for at in times if at < oldest]
    _leave_out(step, schedule, late, RunCause.DUE, RunState.MISSED)
    _run(step, schedule, times[len(late) :], RunCause.DUE, schedule.plan.overlap)
    schedule.after = max([schedule.after, *times[-1:]])
    schedule.problem, schedule.next_at = command.problem, to_come
    if to_come is not None:
        step.set_timer(schedule, to_come, TimerKind.SCHEDULE)


def run_ended(step: Step, command: CloseLink) -> bool:
    """A run's node is over, or was never made. False: the target of the link is no schedule."""
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
    """Start these runs, in order, as far as those that have not ended let them."""
    times = list(times)
    if overlap is Overlap.CANCEL and times:
        # Of several at once, each would be canceled for the next: only the last is worth starting.
        _leave_out(step, schedule, times[:-1], cause, RunState.SKIPPED)
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
            _leave_out(step, schedule, [at], cause, RunState.SKIPPED)


def _start(step: Step, schedule: Schedule, at: int, cause: RunCause) -> None:
    """Signal the workflow. The command is named after the schedule and the count of its runs: each is made once.

    Named again like one that was made before, it would be taken for a repeat, and would never end: so who made the
    schedule, and when, are in its name.
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
    """The next run that waits, once those before it have ended; a paused schedule holds them."""
    if schedule.queued and not schedule.running and not schedule.paused:
        following, *rest = schedule.queued
        schedule.queued = tuple(rest)
        _start(step, schedule, following.scheduled_at, following.cause)


def _end(step: Step, schedule: Schedule, runs: Iterable[ScheduleRun], state: RunState) -> None:
    over = [msgspec.structs.replace(run, state=state, at=step.now) for run in runs]
    nodes = {run.node_id for run in over}
    schedule.running = tuple(run for run in schedule.running if run.node_id not in nodes)
    _remember(schedule, *over)


def _leave_out(step: Step, schedule: Schedule, times: Iterable[int], cause: RunCause, state: RunState) -> None:
    """Runs that are not made: counted, and remembered as one where they follow each other."""
    times = list(times)
    if not times:
        return
    if state is RunState.MISSED:
        schedule.missed += len(times)
    else:
        schedule.skipped += len(times)
    last = schedule.recent[-1] if schedule.recent else None
    # One entry where several follow each other: so an outage leaves room for what was run.
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
    said = _text(at)
    workflow = msgspec.structs.replace(plan.workflow, subject=plan.workflow.subject.replace(PLACEHOLDER, said.encode()))
    metadata = _OBJECT.decode(plan.node.metadata)
    metadata[METADATA_KEY] = msgspec.Raw(msgspec.json.encode({"name": plan.name, "scheduled_at": said}))
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
    found = _EPOCH + timedelta(milliseconds=at)
    return found.isoformat(timespec="milliseconds" if at % 1000 else "seconds").replace("+00:00", "Z")


# --- checks ----------------------------------------------------------------------------------------------------------


def _check(step: Step, plan: NewSchedule) -> None:
    """Refuse what no run could be made from, so that nobody has to look for it in the dead letters."""
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
        # What run it is, is put into it.
        raise _wrong("metadata is no JSON object, as a schedule's signal needs", "another value", "a JSON object")
    timeout_of(step, plan.node.client_data)
    sample = _signal(plan, bytes(16), step.now, bytes(16), "")
    check_node(step, sample.node)
    assert sample.workflow is not None, "a run's workflow is found or made"
    check_workflow(step, sample.workflow)


def _check_seconds(what: str, seconds: float, least: float, most: float) -> None:
    if not (math.isfinite(seconds) and least <= seconds <= most):
        raise _wrong(f"The {what} is {seconds:g} s", f"{seconds:g} s", f"{least:g} to {most:g} s")


def _wrong(message: str, found: str, wanted: str) -> Refused:
    return refuse(Reason.INVALID_PARAMETERS, message, found=found, wanted=wanted)
