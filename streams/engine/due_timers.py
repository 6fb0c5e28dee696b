"""Commands for due timers. A schedule's command has its times: no replay reads a time zone."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from backbeat.schemas.codec import encode_command
from backbeat.schemas.cron import RecurrenceError, times_after
from backbeat.schemas.messages.commands import ScheduleDue, TimerFired
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.schedules.schedule import Schedule
from backbeat.streams.core.tables import SCHEDULES
from backbeat.streams.ports.state import PartitionState

logger = logging.getLogger(__name__)

#: Times computed at once: 10 to 100 us each.
_COMPUTED_MAX = 2_000


def due_records(store: PartitionState, now: int) -> Iterator[tuple[bytes, bytes]]:
    """Subject id and encoded command of each timer that is due at `now` and not sent yet, earliest first.

    They go to the partition of the timer: an idempotency key has no route. After an outage some are left for the next
    call, so that other work gets its turn.
    """
    computed_count = 0
    for timer in store.timers.due(now):
        command: TimerFired | ScheduleDue = timer
        schedule = store.get(SCHEDULES, timer.subject_id) if timer.kind is TimerKind.SCHEDULE else None
        if schedule is not None:
            command = schedule_due(schedule, timer, store, now)
            computed_count += 1 + len(command.times)
        yield timer.subject_id, encode_command(command)
        if computed_count >= _COMPUTED_MAX:
            return


def schedule_due(schedule: Schedule, timer: TimerFired, store: PartitionState, now: int) -> ScheduleDue:
    """The command with the due times of a schedule, at most `slice_nodes_max`, and the next time."""
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
        # A defect in one schedule: it stops with a problem text, and the engine goes on with the others.
        logger.exception("the times of schedule %r", schedule.plan.name)
        problem = f"A defect: {type(defect).__name__}: {defect}"
        times, next_at = [], None
    return ScheduleDue(
        id=timer.id,
        schedule_id=schedule.id,
        number=timer.number,
        times=tuple(times),
        next_at=next_at,
        problem=problem,
    )
