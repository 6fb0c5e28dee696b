"""Timers that fire too early are set again.

An engine sends a timer's command by its estimate of the broker's time, which may be wrong by any amount: only the
record's time counts (`now` of `apply`).
"""

from __future__ import annotations

from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.effects import FiredEarly
from backbeat.streams.core.step import Step
from backbeat.streams.core.tables import TIMED


def fired_early(step: Step, kind: TimerKind, subject_id: bytes, number: int) -> bool:
    """True when a timer has fired before its time; it is then set again, since its sender takes it for fired."""
    table = TIMED[kind]
    record = step.transaction.get(table, subject_id)
    timer = None if record is None or table.timer is None else table.timer.of(subject_id, record)
    if timer is None or timer[2] != kind or (timer[3] and timer[3] != number):
        return False  # It was cleared or replaced. A record with one timer in its life has no number.
    if step.now >= timer[0]:
        return False
    step.transaction.rearm(timer)
    step.effects.append(FiredEarly(timer[0]))
    return True
