"""Commands as calls of the HTTP API, and what those answer as the core's answers."""

from __future__ import annotations

from typing import Any

import msgspec

from backbeat.errors import InvalidParameters
from backbeat.payload.values import id_text
from backbeat.schemas.messages import commands
from backbeat.schemas.messages.jobs import Jobs
from backbeat.schemas.messages.replies import Done, Reason
from backbeat.schemas.messages.status import word
from backbeat.transport.http_jobs import job_said, read_job
from backbeat.transport.http_limits import limit_call, read_limits
from backbeat.transport.http_schedules import change_call, put_call, read_schedule, run_call
from backbeat.transport.http_values import read_node, read_workflow, time_text
from backbeat.transport.http_words import HttpCall

_encode = msgspec.json.Encoder().encode


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
        case commands.ChangeLimit():
            return limit_call(command)
        case commands.PutSchedule():
            return put_call(command)
        case commands.ChangeSchedule():
            return change_call(command)
        case commands.RunSchedule():
            return run_call(command)
        case commands.StartJob() if command.user_id is not None:
            return HttpCall("POST", "/jobs", job_said(command))
        case commands.StopJob() if command.user_id is not None:
            return HttpCall("PUT", f"/jobs/{id_text(command.job_id)}/stop")
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
        case commands.ChangeLimit():
            return read_limits(b"[" + text + b"]")
        case commands.PutSchedule() | commands.RunSchedule():
            return read_schedule(text)
        case commands.StartJob() | commands.StopJob():
            return Jobs((read_job(text),))
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
    if node.priority is not None:
        said["priority"] = node.priority
    if node.fairness_key is not None:
        said["fairness_key"] = node.fairness_key
    if node.fires_at is not None:
        said["fires_at"] = time_text(node.fires_at)
    if node.parent_link_id is not None:
        said["parent_link_id"] = id_text(node.parent_link_id)
    if command.workflow is not None:
        said["workflow"] = _workflow_said(command.workflow)
    if command.coalesce_key is not None:
        said |= {"coalesce_key": command.coalesce_key, "coalesce": word(command.coalesce)}
    return HttpCall("POST", f"/workflows/{id_text(command.workflow_id)}/signal", _encode(said))
