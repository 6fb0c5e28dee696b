"""The commands, timers and tasks that are about what is removed, and what is looked at around every command."""

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
#: Work that is about no workflow that is there.
TASKS: dict[TaskKind, TaskHandler] = {
    TaskKind.REMOVE: removal.go_on,
    TaskKind.RETAIN: policies.go_on,
}
#: A worker may answer for a node that was removed.
BEFORE: dict[type, Guard] = dict.fromkeys((ChangeNode, AddChildren, Heartbeat), removal.is_left_behind)
#: Whatever happens to a workflow moves the time of its removal.
AFTER = policies.review
