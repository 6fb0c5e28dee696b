"""Calls for nodes, which old clients know as activities or events: reads, status changes, children, operations."""

from __future__ import annotations

from aiohttp.web import Response

from backbeat.errors import LimitExceeded, Rejected, never_runs_again
from backbeat.gateway import engine_calls
from backbeat.gateway.api.nodes import check_links, fit_response, new_node, store_large
from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call, answer, success
from backbeat.gateway.http.error_text import cut_error
from backbeat.gateway.http.parameters import Parameters
from backbeat.gateway.http.presentation import response_json
from backbeat.payload.values import id_text
from backbeat.schemas.messages import commands
from backbeat.schemas.messages.replies import Done
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.schemas.messages.values import NewNode

#: Status of a failed activity, by the client's word.
ERRORED = "errored"


async def show(call: Call) -> Response:
    """GET /activities/:id."""
    node_id = call.path_id()
    view = await (engine_calls.wait_for_node if call.preferences.wait_seconds else engine_calls.get_node)(call, node_id)
    workflow_id = call.parameters.uuid("workflow_id")
    if workflow_id is not None and view.workflow_id != workflow_id:
        raise _not_in_workflow(node_id)
    (view,) = await call.whole_nodes([view])
    return answer(call.node_json(view))


async def errors_of(call: Call) -> Response:
    """GET /activities/:id/errors: the changes to errored."""
    node_id = await _node_id(call)
    changes = [
        change
        for change in await engine_calls.get_history(call, node_id)
        if change.to_status == (ServerStatus.ERRORED if change.server else ClientStatus.ERRORED)
    ]
    return answer([call.status_change_json(node_id, change) for change in await call.whole_changes(changes)])


async def status_changes(call: Call) -> Response:
    """GET /activities/:id/status_changes: oldest first."""
    node_id = await _node_id(call)
    changes = await call.whole_changes(await engine_calls.get_history(call, node_id))
    return answer([call.status_change_json(node_id, change) for change in changes])


async def response(call: Call) -> Response:
    """GET /activities/:id/response: of the last change of the client status; null before the first."""
    node_id = await _node_id(call)
    changes = [change for change in await engine_calls.get_history(call, node_id) if not change.server]
    newest = await call.whole_changes(changes[-1:])
    return answer(response_json(newest[0]) if newest else None)


async def change_status(call: Call) -> Response:
    """PUT /activities/:id/status/:status: the status that the client reports, with its response."""
    node_id = await _node_id(call)
    response_text = await call.read(lambda: _response(call.parameters))
    is_error = call.segment("status") == ERRORED
    if response_text is not None:
        response_text = await fit_response(call, response_text, is_error=is_error)
    try:
        await _change_status(call, node_id, response_text)
    except errors.Refusal as refusal:
        shortened = _cut_to_limit(refusal, response_text) if is_error else None
        if shortened is None:
            raise
        # A limit was lowered, or it is too deep. Without its error the node would stay `processing`.
        await _change_status(call, node_id, shortened)
    return success()


def _response(parameters: Parameters) -> bytes | None:
    response_text = parameters.json("response")
    return parameters.json("args") if response_text is None else response_text


async def _change_status(call: Call, node_id: bytes, response_text: bytes | None) -> None:
    status = call.segment("status")
    reply = await engine_calls.change(
        call,
        commands.ChangeNode,
        node_id,
        f"node {id_text(node_id)}",
        node_id=node_id,
        status=status,
        response=response_text,
        retriable=call.parameters.flag("retriable") is not False,
        retry_after_seconds=call.parameters.number("retry_after"),
    )
    if status != "canceled":
        _check_changed(call, node_id, reply)


def _cut_to_limit(refusal: errors.Refusal, response_text: bytes | None) -> bytes | None:
    """A refused error cut to the engine's size or depth; None if it was refused for another reason."""
    rejected = refusal.__cause__
    if response_text is None or not isinstance(rejected, LimitExceeded):
        return None
    match rejected.wanted.split():
        case ["payload_bytes_max", limit]:
            return cut_error(response_text, int(limit))
        case ["json_depth_max", limit]:
            return cut_error(response_text, levels_max=int(limit))
        case _:
            return None


async def add_decisions(call: Call) -> Response:
    """POST /activities/:id/decisions: children, all or none; their ids in order."""
    node_id = await _node_id(call)
    children = await call.read(lambda: tuple(_child(call, decision) for decision in _decisions(call.parameters)))
    children = await store_large(call, children)
    await check_links(call, children)
    target = f"node {id_text(node_id)}"
    created = await engine_calls.change(call, commands.AddChildren, node_id, target, node_id=node_id, children=children)
    return answer([id_text(node_id) for node_id in created.ids], 201)


def _decisions(parameters: Parameters) -> list[Parameters]:
    decisions = parameters.nested_list("decisions")
    if decisions is None:
        args = parameters.nested("args")
        decisions = None if args is None else args.nested_list("decisions")
    if decisions is None:
        raise errors.invalid("decisions is missing: a list of nodes")
    return decisions


def _child(call: Call, parameters: Parameters) -> NewNode:
    name = parameters.word("name")
    if name is None:
        raise errors.invalid("name is missing: each decision has one")
    return new_node(call, parameters, name)


async def restart(call: Call) -> Response:
    """PUT /activities/:id/restart: a retry now."""
    node_id = await _node_id(call)
    reply = await engine_calls.change(call, commands.RestartNode, node_id, f"node {id_text(node_id)}", node_id=node_id)
    _check_changed(call, node_id, reply)
    return success()


async def reset(call: Call) -> Response:
    """PUT /activities/:id/reset: deactivate all nodes below."""
    node_id = await _node_id(call)
    reply = await engine_calls.change(call, commands.ResetNode, node_id, f"node {id_text(node_id)}", node_id=node_id)
    _check_changed(call, node_id, reply)
    return success()


async def schedule(call: Call) -> Response:
    """PUT /activities/:id/schedule: start the nodes that can start; `true`, and null for a deactivated node."""
    node_id = await _node_id(call)
    reply = await engine_calls.change(call, commands.ScheduleNode, node_id, f"node {id_text(node_id)}", node_id=node_id)
    _check_changed(call, node_id, reply)
    return answer(True if reply.changed else None)


def _check_changed(call: Call, node_id: bytes, reply: Done) -> None:
    """409 for a change of a node that never runs again; old clients get success."""
    if call.preferences.whole and not reply.changed:
        rejected = Rejected(*never_runs_again(node_id))
        raise errors.refused(rejected, f"node {id_text(node_id)}", whole=True)


async def _node_id(call: Call) -> bytes:
    """The node in the path; 404 if it is not in the workflow `workflow_id`."""
    node_id = call.path_id()
    workflow_id = call.parameters.uuid("workflow_id")
    if workflow_id is not None and (await engine_calls.get_node(call, node_id)).workflow_id != workflow_id:
        raise _not_in_workflow(node_id)
    return node_id


def _not_in_workflow(node_id: bytes) -> errors.Refusal:
    return errors.not_found(f"There is no node {id_text(node_id)} in this workflow")
