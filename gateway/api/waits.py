"""Calls for why nodes wait, for short lists of nodes with what each waits for, and for messages that end waits."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp.web import Response

from backbeat.client.waits import Child, Wait, failing_step, sum_up
from backbeat.gateway import engine_calls
from backbeat.gateway.api.nodes import fit_response
from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call, answer, success
from backbeat.gateway.http.pages import LARGE_MIN, LIMIT_MAX, read_whole
from backbeat.payload.nouns import json_writer
from backbeat.payload.values import id_text
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.json_text import as_response
from backbeat.schemas.messages.views import ChildView
from backbeat.transport.http_words import NEXT_HEADER

_wait_json = json_writer(Wait)
_child_json = json_writer(Child)
#: Nodes of a list without a limit.
CHILDREN_DEFAULT = 1_000


async def waits(call: Call) -> Response:
    """GET /activities/:id/waits: what holds the node up now, then what comes after."""
    node_id = call.path_id()
    (reply,) = await engine_calls.ask(call, queries.GetWaits, f"node {id_text(node_id)}", node_id=node_id)
    return answer([_wait_json(wait) for wait in reply.waits])


async def children_of_node(call: Call) -> Response:
    """GET /activities/:id/children: the nodes right below."""
    return await _children(call, f"node {id_text(call.path_id())}")


async def top_of_workflow(call: Call) -> Response:
    """GET /workflows/:id/top: the nodes at the top of a workflow."""
    return await _children(call, f"workflow {id_text(call.path_id())}")


async def outcome(call: Call) -> Response:
    """GET /workflows/:id/outcome: whether a workflow runs, waits, retries, has failed or is done, and what fails."""
    _, nodes = await read_whole(call, call.path_id())
    state, failing = sum_up(nodes) if len(nodes) < LARGE_MIN else await asyncio.to_thread(sum_up, nodes)
    steps = []
    for node in failing:
        path_parts = await engine_calls.ask(call, queries.GetPath, f"node {id_text(node.id)}", node_id=node.id)
        steps.append(failing_step(path_parts[-1].nodes[-1]))
    return answer(msgspec.structs.replace(state, failing=steps))


async def path(call: Call) -> Response:
    """GET /activities/:id/path: the nodes above, from the top down, and the node."""
    node_id = call.path_id()
    parts = await engine_calls.ask(call, queries.GetPath, f"node {id_text(node_id)}", node_id=node_id)
    return answer([_child_json(node) for part in parts for node in part.nodes])


async def _children(call: Call, target: str) -> Response:
    limit = call.parameters.whole_number("limit")
    if limit is None:
        limit = CHILDREN_DEFAULT
    if not 1 <= limit <= LIMIT_MAX:
        raise errors.invalid(f"limit is {limit}; 1 is the least and {LIMIT_MAX} the most")
    after, first = call.parameters.uuid("after"), call.parameters.uuid("first")
    # A node more than the limit shows whether there is a next page.
    parts = await engine_calls.ask(
        call, queries.GetChildren, target, parent_id=call.path_id(), limit=limit + 1, after=after, first=first
    )
    nodes: list[ChildView] = [node for part in parts for node in part.nodes]
    headers = {NEXT_HEADER: id_text(nodes[limit - 1].id)} if len(nodes) > limit else None
    return answer([_child_json(node) for node in nodes[:limit]], headers=headers)


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
