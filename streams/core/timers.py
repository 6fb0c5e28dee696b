"""A timer that fires before its time is set once more.

Whoever sends a timer's command goes by an estimate of the broker's time, which may be wrong by any amount: only the
time of the record counts (`now` of `apply`).
"""

from __future__ import annotations

from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.effects import FiredEarly
from backbeat.streams.core.step import Step
from backbeat.streams.core.tables import TIMED


def fired_early(step: Step, kind: TimerKind, subject_id: bytes, number: int) -> bool:
    """Whether a timer has fired before its time. Then it is set again: whoever has sent it takes it for done."""
    table = TIMED[kind]
    record = step.transaction.get(table, subject_id)
    timer = None if record is None or table.timer is None else table.timer.of(subject_id, record)
    if timer is None or timer[2] != kind or (timer[3] and timer[3] != number):
        return False  # It stands no more. What has one timer in its life has no number.
    if step.now >= timer[0]:
        return False
    step.transaction.rearm(timer)
    step.effects.append(FiredEarly(timer[0]))
    return True
