"""A worker's heartbeat: its deadline is renewed, and its progress kept and told."""

from __future__ import annotations

from backbeat.schemas.messages.commands import Heartbeat
from backbeat.schemas.messages.history import NodeProgress
from backbeat.schemas.messages.replies import Done, Reason
from backbeat.schemas.messages.status import word
from backbeat.schemas.messages.values import Progress
from backbeat.streams.core.checks import check_text
from backbeat.streams.core.effects import StatusChanged
from backbeat.streams.core.records import Node
from backbeat.streams.core.step import Step, refuse, require_own_node
from backbeat.streams.core.tree import status
from backbeat.streams.core.tree.failures import is_running
from backbeat.streams.core.tree.progress import renew_deadline


def heartbeat(step: Step, command: Heartbeat) -> None:
    """Renew the deadline of a running attempt."""
    node = require_own_node(step, command.node_id)
    if is_running(node, command.attempt):
        renew_deadline(step, node)
        if command.progress is not None:
            _note_progress(step, node, command.progress)
        step.reply(Done())
        return
    actual = word(node.server) if node.attempt == command.attempt else f"attempt {node.attempt}"
    if command.reply_to is None:
        # It crossed its own result: no case for an operator.
        step.ignore(f"a heartbeat of attempt {command.attempt}, which is over")
        return
    message = f"Attempt {command.attempt} is over"
    raise refuse(Reason.INVALID_SERVER_STATUS, message, found=actual, wanted=word(status.SENT_TO_CLIENT))


def _note_progress(step: Step, node: Node, progress: Progress) -> None:
    """Keep it with the node, and tell followers. Refused: no fraction, or a note that is longer than a name may be."""
    fraction = progress.fraction
    if fraction is not None and not 0 <= fraction <= 1:
        message = f"The progress is {fraction:g}; it must be a fraction from 0 to 1"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=f"{fraction:g}", wanted="0 to 1")
    if progress.note:
        check_text("note of the progress", progress.note, step.settings.name_bytes_max)
    node.progress = progress
    step.effects.append(StatusChanged(node.workflow_id, (), (NodeProgress(node.id, step.now, progress),)))
