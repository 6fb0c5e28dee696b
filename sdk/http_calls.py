"""Commands as calls of the HTTP API, and what those answer as the core's answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from backbeat.errors import InvalidParameters
from backbeat.http_values import read_node, read_workflow
from backbeat.payloads import id_text
from backbeat.streams.core import commands
from backbeat.streams.core.effects import Done, Reason
from backbeat.streams.core.status import word

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One call."""

    method: str
    path: str
    body: bytes | None = None
    query: Mapping[str, str] | None = None


def command_call(command: commands.AnyCommand) -> HttpCall:
    """The call that a command is. InvalidParameters for one that only Kafka takes."""
    match command:
        case commands.CreateWorkflow(workflow=new):
            return HttpCall("POST", "/workflows", _encode(_workflow_said(new)))
        case commands.Signal():
            return _signal_call(command)
        case commands.ChangeWorkflow():
            return HttpCall("PUT", f"/workflows/{id_text(command.workflow_id)}/{command.change}")
        case commands.ChangeNode(children=(), attempt=None):
            said: dict[str, Any] = {} if command.response is None else {"response": msgspec.Raw(command.response)}
            if not command.retriable:
                said["retriable"] = False
            return HttpCall("PUT", f"/activities/{id_text(command.node_id)}/status/{command.status}", _encode(said))
        case commands.RestartNode():
            return HttpCall("PUT", f"/activities/{id_text(command.node_id)}/restart")
        case commands.ResetNode():
            return HttpCall("PUT", f"/activities/{id_text(command.node_id)}/reset")
        case commands.ScheduleNode():
            return HttpCall("PUT", f"/activities/{id_text(command.node_id)}/schedule")
        case _:
            kind = type(command).__name__
            raise InvalidParameters(
                Reason.INVALID_PARAMETERS, f"A gateway takes no {kind}; a client of Kafka sends it", kind, "another one"
            )


def command_value(command: commands.AnyCommand, text: bytes) -> Any:
    """What the core would have answered."""
    match command:
        case commands.CreateWorkflow():
            return read_workflow(text)
        case commands.Signal():
            return read_node(text)
        case _:
            # `null` is said for a deactivated node that was told to schedule: nothing happened.
            return Done(changed=text != b"null")


def _workflow_said(new: commands.NewWorkflow) -> dict[str, Any]:
    return {"name": new.name, "subject": msgspec.Raw(new.subject), "decider": new.decider}


def _signal_call(command: commands.Signal) -> HttpCall:
    node = command.node
    said: dict[str, Any] = {
        "name": node.name,
        "client_id": id_text(node.user_id),
        "client_data": msgspec.Raw(node.client_data),
        "metadata": msgspec.Raw(node.metadata),
        "retry": node.retries,
        "retry_interval": node.retry_interval_seconds,
    }
    if node.fires_at is not None:
        at = datetime.fromtimestamp(node.fires_at / 1000, UTC)
        said["fires_at"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if node.parent_link_id is not None:
        said["parent_link_id"] = id_text(node.parent_link_id)
    if command.workflow is not None:
        said["workflow"] = _workflow_said(command.workflow)
    if command.coalesce_key is not None:
        said |= {"coalesce_key": command.coalesce_key, "coalesce": word(command.coalesce)}
    return HttpCall("POST", f"/workflows/{id_text(command.workflow_id)}/signal", _encode(said))
