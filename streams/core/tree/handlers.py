"""Handlers of the commands on workflows and nodes, and of the timers of nodes."""

from __future__ import annotations

from backbeat.schemas.messages.commands import (
    AddChildren,
    ChangeNode,
    ChangeWorkflow,
    CreateWorkflow,
    DeliveryFailed,
    FailNode,
    ResetNode,
    RestartNode,
    ScheduleNode,
    Signal,
    TimerFired,
)
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.step import Handler, Step
from backbeat.streams.core.tree import create, failures, operator, progress, results


def _timer_fired(step: Step, command: TimerFired) -> None:
    node = step.enter_node(command.subject_id)
    if node is None or node.timer_at is None or (node.timer_kind, node.timer_number) != (command.kind, command.number):
        step.ignore("a timer that no longer stands")
        return
    node.timer_at = None
    if command.kind == TimerKind.START:
        progress.start(step, node)
    elif command.kind == TimerKind.RETRY:
        failures.retry(step, node, fires_at=node.fires_at)
    elif node.awaits is None:
        failures.client_error(step, node, failures.EXPIRED)
    else:
        step.hooks.no_message(step, node)


HANDLERS: dict[type, Handler] = {
    CreateWorkflow: create.create_workflow,
    Signal: create.add_signal,
    ChangeNode: results.change_node,
    AddChildren: results.children_added,
    ChangeWorkflow: operator.change_workflow,
    RestartNode: operator.restart,
    ResetNode: operator.reset,
    ScheduleNode: operator.schedule,
    DeliveryFailed: failures.deliver_failed,
    FailNode: failures.server_error,
}
TIMERS: dict[TimerKind, Handler] = dict.fromkeys((TimerKind.START, TimerKind.RETRY, TimerKind.EXPIRY), _timer_fired)
TASKS = progress.TASKS
BEFORE_SIGNAL = create.refuse_complete
ON_REFUSED = results.on_refused
