"""Tasks: work of a command that may be too large for it, done piece by piece."""

from __future__ import annotations

from backbeat.compose.verify.rules import progress, signals, takes
from backbeat.compose.verify.rules.tree import (
    TASK_COUNT_RESULTS,
    TASK_DELIVER,
    TASK_FORGET_LINKS,
    TASK_GIVE_RESULTS,
    TASK_PREVIOUS,
    TASK_READY,
    TASK_RESUME,
    TASK_SCHEDULE,
    TASK_SHUT,
    TASK_SWEEP,
    Task,
)
from backbeat.compose.verify.rules.work import Work


def run(work: Work) -> None:
    """Do the tasks in their order, as far as the budget goes."""
    while work.tasks:
        if work.budget <= 0:
            work.defer()
            return
        _do(work, work.tasks.popleft())


def _do(work: Work, task: Task) -> None:
    kind, seq, cursor, mark = task
    if kind == TASK_SCHEDULE:
        progress.schedule(work, work.node(seq) if seq else work.own)
    elif kind == TASK_READY:
        progress.children_become_ready(work, work.node(seq), cursor)
    elif kind in (TASK_SWEEP, TASK_PREVIOUS):
        progress.visit(work, task)
    elif kind == TASK_SHUT:
        progress.shut(work, work.node(seq), task)
    elif kind == TASK_RESUME:
        progress.resume(work)
    elif kind == TASK_COUNT_RESULTS:
        takes.count(work, task)
    elif kind == TASK_GIVE_RESULTS:
        takes.give(work, task)
    elif kind == TASK_DELIVER:
        signals.deliver(work, task)
    else:
        done = min(work.budget, mark)
        work.budget -= done
        if done < mark:
            work.tasks.appendleft((TASK_FORGET_LINKS, seq, 0, mark - done))
