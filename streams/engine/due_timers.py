"""The commands for timers that are due. That of a schedule says what its times are: no replay reads a time zone."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from backbeat.schemas.codec import encode_command
from backbeat.schemas.cron import RecurrenceError, times_after
from backbeat.schemas.messages.commands import ScheduleDue, TimerFired
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.schedules.schedule import Schedule
from backbeat.streams.core.tables import SCHEDULES
from backbeat.streams.engine.ports import PartitionState

logger = logging.getLogger(__name__)

#: Times that are worked out at once: 10 to 100 us each.
_WORKED_OUT_MAX = 2_000


def due_records(store: PartitionState, now: int) -> Iterator[tuple[bytes, bytes]]:
    """A command for each timer that is due at `now` and not sent yet, earliest first: what it is about, and its bytes.

    They go to the partition that keeps the timer: a caller's key has no route. After an outage some are left for the
    next time that it is asked, so that others get their turn.
    """
    worked_out = 0
    for fired in store.timers.due(now):
        command: TimerFired | ScheduleDue = fired
        schedule = store.get(SCHEDULES, fired.subject_id) if fired.kind is TimerKind.SCHEDULE else None
        if schedule is not None:
            command = schedule_due(schedule, fired, store, now)
            worked_out += 1 + len(command.times)
        yield fired.subject_id, encode_command(command)
        if worked_out >= _WORKED_OUT_MAX:
            return


def schedule_due(schedule: Schedule, fired: TimerFired, store: PartitionState, now: int) -> ScheduleDue:
    """The times of a schedule that have come, as many as one command may deal with, and the next one."""
    times: list[int] = []
    next_at: int | None = None
    problem = ""
    try:
        for at in times_after(schedule.plan, schedule.after):
            if at > now or len(times) >= store.meta.settings.slice_nodes_max:
                next_at = at
                break
            times.append(at)
    except RecurrenceError as error:
        problem = str(error)
    except Exception as defect:
        # Of the library or ours, in one schedule: it stands still and says so, and the engine goes on with the others.
        logger.exception("the times of schedule %r", schedule.plan.name)
        problem = f"A defect: {type(defect).__name__}: {defect}"
        times, next_at = [], None
    return ScheduleDue(
        id=fired.id,
        schedule_id=schedule.id,
        number=fired.number,
        times=tuple(times),
        next_at=next_at,
        problem=problem,
    )
