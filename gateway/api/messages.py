"""Call for messages to a workflow: what its nodes wait for."""

from __future__ import annotations

from aiohttp.web import Response

from backbeat.gateway import engine_calls
from backbeat.gateway.api.nodes import fit_response
from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call, success
from backbeat.payload.values import id_text
from backbeat.schemas.messages import commands
from backbeat.worker.responses import as_response


async def send(call: Call) -> Response:
    """POST /workflows/:id/messages/:name: a message, for the node that waits for one of this name."""
    workflow_id, name = call.path_id(), call.segment("name")
    if not name.strip() or "\0" in name:
        raise errors.invalid("name is missing: the message's")
    value = await call.read(lambda: call.parameters.untouched("value") or b"null")
    payload = await fit_response(call, as_response(value), is_error=False)
    target = f"workflow {id_text(workflow_id)}"
    await engine_calls.change(
        call, commands.SendMessage, workflow_id, target, workflow_id=workflow_id, name=name, payload=payload
    )
    return success()
