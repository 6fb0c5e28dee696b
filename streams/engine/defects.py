"""Refusals before a command is applied, and defects: exceptions of the rules."""

from __future__ import annotations

import msgspec

from backbeat.schemas.errors import DecodeError
from backbeat.schemas.messages.commands import (
    AddChildren,
    AnyCommand,
    ChangeNode,
    Continue,
    DeliveryFailed,
    FailNode,
    GrantSlot,
    Heartbeat,
    ResetNode,
    RestartNode,
    ScheduleNode,
    StopJob,
    TimerFired,
    WorkJob,
)
from backbeat.schemas.messages.replies import Rejection
from backbeat.streams.core import effects as fx
from backbeat.streams.core.idempotency import answered
from backbeat.streams.ports.errors import defect_text

_ABOUT_A_NODE = (ChangeNode, AddChildren, RestartNode, ResetNode, ScheduleNode, Heartbeat, DeliveryFailed, GrantSlot)


def unreadable_text(error: Exception) -> str:
    """The reason why a record cannot be decoded: its own fault, or a defect of the decoder."""
    return str(error) if isinstance(error, DecodeError) else f"defect: {defect_text(error)}"


def refused(command: AnyCommand, rejection: Rejection) -> list[fx.Effect]:
    """The answer to a refused command, or its dead letter."""
    reply_to = command.reply_to
    if reply_to is not None and reply_to.partition < 0:
        command = msgspec.structs.replace(command, reply_to=None)
    return answered(command, rejection)


def failure_of(command: AnyCommand) -> FailNode | StopJob | None:
    """The command that shows a defect: it makes the node errored, or stops the job; null: the command has neither."""
    if isinstance(command, WorkJob):
        return StopJob(
            id=command.id, tid=command.tid, source=command.source, partition=command.partition, job_id=command.job_id
        )
    node_id = command.node_id if isinstance(command, _ABOUT_A_NODE) else None
    if isinstance(command, TimerFired):
        node_id = command.subject_id
    if isinstance(command, Continue) and command.tasks:
        node_id = command.tasks[0].id
    if node_id is None:
        return None
    return FailNode(id=command.id, tid=command.tid, source=command.source, node_id=node_id, message="The engine failed")
