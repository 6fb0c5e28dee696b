"""Handlers of the commands, timers and tasks of retention, and its hooks around every command."""

from __future__ import annotations

from backbeat.schemas.messages.commands import AddChildren, ChangeNode, ChangeRetention, Heartbeat, RemoveWorkflow
from backbeat.schemas.messages.values import TaskKind, TimerKind
from backbeat.streams.core.retention import policies, removal
from backbeat.streams.core.step import Guard, Handler, TaskHandler

HANDLERS: dict[type, Handler] = {
    ChangeRetention: policies.change,
    RemoveWorkflow: removal.remove,
}
TIMERS: dict[TimerKind, Handler] = {
    TimerKind.RETENTION: removal.due,
    TimerKind.REFUSAL: removal.forget,
}
#: Tasks without a stored workflow.
TASKS: dict[TaskKind, TaskHandler] = {
    TaskKind.REMOVE: removal.go_on,
    TaskKind.RETAIN: policies.go_on,
}
#: A worker's result may be of a node that was removed.
BEFORE: dict[type, Guard] = dict.fromkeys((ChangeNode, AddChildren, Heartbeat), removal.is_late_result_of_removed_node)
#: A change of a workflow moves the time of its removal.
AFTER = policies.review
