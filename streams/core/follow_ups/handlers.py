"""Tasks of the activities that follow nodes, and the hooks of the tree for them."""

from __future__ import annotations

from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.values import TaskKind
from backbeat.streams.core.follow_ups import added, cancel, failure, undo
from backbeat.streams.core.step import FollowUpHooks, StatusListener, TaskHandler

TASKS: dict[TaskKind, TaskHandler] = {
    TaskKind.UNDO: undo.walk,
    TaskKind.FOLLOW_CANCEL: cancel.run,
}
ON_STATUS: dict[ServerStatus, StatusListener] = {ServerStatus.DEACTIVATED: cancel.deactivated}
HOOKS = FollowUpHooks(
    follow=added.follow,
    exhausted=failure.exhausted,
    gives_up=failure.give_up,
    handled=failure.handled,
    decided=failure.decided,
    gave_up=failure.gave_up,
    undoes=undo.begun,
    compensate=undo.cancel,
)
