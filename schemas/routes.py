"""Routes of commands: the id that says the partition of each."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from backbeat.schemas.messages.commands import (
    AddChildren,
    AnyCommand,
    AskSlot,
    ChangeLimit,
    ChangeNode,
    ChangeRetention,
    ChangeSchedule,
    ChangeSettings,
    ChangeWorkflow,
    CloseLink,
    Continue,
    CreateWorkflow,
    DeliveryFailed,
    FailNode,
    FillPool,
    GrantSlot,
    Heartbeat,
    OpenLink,
    PutSchedule,
    ReleaseSlot,
    RemoveWorkflow,
    ResetNode,
    RestartNode,
    RunSchedule,
    ScheduleDue,
    ScheduleNode,
    SendMessage,
    Signal,
    SpreadLimit,
    StartJob,
    StopJob,
    TimerFired,
    WorkJob,
)
from backbeat.schemas.messages.ids import limit_id, murmur2
from backbeat.schemas.messages.values import TimerKind


def route(command: AnyCommand) -> bytes | None:
    """The id whose first 32 bits say the command's partition; null: it is sent to every partition."""
    return ROUTES[type(command)](command)


def route_of_subject(subject: bytes) -> bytes:
    """The routing bits of a subject's JSON text."""
    return murmur2(subject).to_bytes(4, "big")


def _timer_route(command: TimerFired) -> bytes | None:
    # A caller's key and a job have no route: their timers are sent to the partition that holds them.
    return None if command.kind in (TimerKind.ANSWER, TimerKind.JOB) else command.subject_id


def _job_route(command: StartJob | StopJob | WorkJob) -> bytes:
    return command.partition.to_bytes(4, "big")


def _no_route(_: AnyCommand) -> None:
    return None


#: Command -> its route. By type: to match a struct's class by class takes longer than to encode it.
ROUTES: dict[type, Callable[[Any], bytes | None]] = {
    CreateWorkflow: lambda command: route_of_subject(command.workflow.subject),
    **dict.fromkeys((Signal, SendMessage, ChangeWorkflow, RemoveWorkflow, Continue), attrgetter("workflow_id")),
    **dict.fromkeys(
        (
            *(ChangeNode, AddChildren, Heartbeat, RestartNode, ResetNode, ScheduleNode),
            *(GrantSlot, DeliveryFailed, FailNode),
        ),
        attrgetter("node_id"),
    ),
    **dict.fromkeys((OpenLink, CloseLink), attrgetter("target_id")),
    **dict.fromkeys((AskSlot, ReleaseSlot, FillPool), attrgetter("pool_id")),
    **dict.fromkeys((PutSchedule, ChangeSchedule, RunSchedule, ScheduleDue), attrgetter("schedule_id")),
    **dict.fromkeys((StartJob, StopJob, WorkJob), _job_route),
    **dict.fromkeys((ChangeSettings, SpreadLimit, ChangeRetention), _no_route),
    ChangeLimit: lambda command: limit_id(command.client_id, command.activity),
    TimerFired: _timer_route,
}
