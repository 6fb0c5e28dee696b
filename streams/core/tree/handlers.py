"""Handlers of the commands on workflows and nodes, and of the timers of nodes."""

from __future__ import annotations

from backbeat.schemas.messages.commands import (
    AddChildren,
    ChangeNode,
    ChangeSettings,
    ChangeWorkflow,
    CloseLink,
    CreateWorkflow,
    DeliveryFailed,
    FailNode,
    Heartbeat,
    OpenLink,
    ResetNode,
    RestartNode,
    ScheduleNode,
    Signal,
    TimerFired,
)
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.step import Handler, Step
from backbeat.streams.core.tree import create, failures, links, operator, progress, results


def _open_link(step: Step, command: OpenLink) -> None:
    if not command.waits:
        links.open_link(step, command)
    elif command.signal is not None and command.waits_at == len(command.waits):
        create.add_signal(step, command.signal, is_followed=True)
    else:
        links.follow_wait(step, command)


def _timer_fired(step: Step, command: TimerFired) -> None:
    node = step.enter_node(command.subject_id)
    if node is None or node.timer_at is None or (node.timer_kind, node.timer_number) != (command.kind, command.number):
        step.ignore("a timer that no longer stands")
        return
    step.clear_timer(node)
    if command.kind == TimerKind.START:
        progress.start(step, node)
    elif command.kind == TimerKind.RETRY:
        failures.retry(step, node, fires_at=node.fires_at)
    else:
        failures.expire(step, node)


HANDLERS: dict[type, Handler] = {
    CreateWorkflow: create.create_workflow,
    Signal: create.add_signal,
    ChangeNode: results.change_node,
    AddChildren: results.children_added,
    Heartbeat: results.heartbeat,
    ChangeWorkflow: operator.change_workflow,
    RestartNode: operator.restart,
    ResetNode: operator.reset,
    ScheduleNode: operator.schedule,
    ChangeSettings: operator.change_settings,
    OpenLink: _open_link,
    CloseLink: links.close_link,
    DeliveryFailed: failures.deliver_failed,
    FailNode: failures.server_error,
}
TIMERS: dict[TimerKind, Handler] = dict.fromkeys((TimerKind.START, TimerKind.RETRY, TimerKind.EXPIRY), _timer_fired)
