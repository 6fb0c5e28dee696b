"""The timers that stand: when each is due, and its being set once more when it has fired before that.

Whoever sends a timer's command goes by an estimate of the broker's time, which may be wrong by any amount: only the
time of the record counts (`now` of `apply`).
"""

from __future__ import annotations

from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.effects import FiredEarly
from backbeat.streams.core.records import Node, Pool
from backbeat.streams.core.schedules.schedule import Schedule
from backbeat.streams.core.step import Step
from backbeat.streams.core.store import Store

#: What these timers are of has one in its life.
_WITHOUT_NUMBER = (TimerKind.ANSWER, TimerKind.REFUSAL, TimerKind.JOB)


def fired_early(step: Step, kind: TimerKind, subject_id: bytes, number: int) -> bool:
    """Whether a timer has fired before its time. Then it is set again: whoever has sent it takes it for done."""
    store = step.store
    due = _due_at(store, kind, subject_id, number)
    if due is None or step.now >= due:
        return False
    store.clear_timer(due, subject_id, kind)
    store.set_timer(due, subject_id, kind, 0 if kind in _WITHOUT_NUMBER else number)
    step.effects.append(FiredEarly(due))
    return True


def _due_at(store: Store, kind: TimerKind, subject_id: bytes, number: int) -> int | None:
    """When the timer of this number is due; null: it stands no more."""
    match kind:
        case TimerKind.ANSWER:
            answer = store.get_answer(subject_id)
            return None if answer is None else answer.forget_at
        case TimerKind.REFUSAL:
            removed = store.get_removed(subject_id)
            return None if removed is None else removed.forget_at
        case TimerKind.JOB:
            job = store.get_job(subject_id)
            return None if job is None else job.forget_at
        case TimerKind.RETENTION:
            workflow = store.get_workflow(subject_id)
            return None if workflow is None or workflow.removal_number != number else workflow.removal_at
        case TimerKind.SLOT:
            return _timer_at(store.get_pool(subject_id), number)
        case TimerKind.SCHEDULE:
            return _timer_at(store.get_schedule(subject_id), number)
        case _:
            node = store.get_node(subject_id)
            return _timer_at(node, number) if node is not None and node.timer_kind == kind else None


def _timer_at(record: Node | Pool | Schedule | None, number: int) -> int | None:
    return None if record is None or record.timer_number != number else record.timer_at
