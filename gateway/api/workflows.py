"""Calls for workflows: find or create, signal, pause, and nodes as tree or list (behaviour document, section 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp.web import Response

from backbeat.gateway import engine_calls
from backbeat.gateway.api.nodes import check_links, coalesce, new_node, store_large
from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call, answer, success
from backbeat.gateway.http.pages import Page, read_page
from backbeat.gateway.http.parameters import Parameters
from backbeat.gateway.http.presentation import CLIENT_WORDS, SERVER_WORDS, tree_json, tree_text, workflow_json
from backbeat.payload.values import id_text
from backbeat.schemas.messages import commands, ids
from backbeat.schemas.messages.values import NewWorkflow
from backbeat.schemas.messages.views import NodeView, WorkflowView
from backbeat.schemas.requests.fields import subject_text

#: Nodes from which an answer is made off the event loop, where it would delay other calls.
_LARGE = 2_000


async def create(call: Call) -> Response:
    """POST /workflows: the workflow of this name and subject, created if there is none."""
    new = _new_workflow(call, call.parameters)
    workflow_id = ids.workflow_id(new.user_id, new.name, new.subject)
    view = await engine_calls.change(
        call, commands.CreateWorkflow, workflow_id, f"workflow {id_text(workflow_id)}", workflow=new
    )
    return answer(workflow_json(view), 201)


def _new_workflow(call: Call, parameters: Parameters) -> NewWorkflow:
    """A new workflow from name, decider and subject."""
    name = parameters.word("name") or parameters.word("workflow_type")
    if name is None:
        raise errors.invalid_value("name is missing")
    decider = parameters.word("decider")
    if decider is None or "subject" not in parameters:
        raise errors.invalid(f"{'decider' if 'subject' in parameters else 'subject'} is missing")
    try:
        subject = subject_text(parameters.value("subject"))
    except ValueError as error:
        raise errors.invalid(str(error)) from error
    return NewWorkflow(user_id=call.user_id, name=name, subject=subject, decider=decider)


async def find(call: Call) -> Response:
    """GET /workflows: by name, subject and decider; the id follows from the first two."""
    parameters = call.parameters
    name = parameters.word("name") or parameters.word("workflow_type")
    subject, decider = parameters.text("subject"), parameters.word("decider")
    if name is None or subject is None or decider is None:
        raise errors.not_found("There is no such workflow: name, subject and decider say which")
    # The subject's JSON text; a string may be sent without its quotes.
    texts = [subject.encode(), subject_text(subject)]
    views = await asyncio.gather(*(_find(call, ids.workflow_id(call.user_id, name, text)) for text in texts))
    for view in views:
        if view is not None and view.decider == decider:
            return answer(workflow_json(view))
    raise errors.not_found("There is no such workflow")


async def _find(call: Call, workflow_id: bytes) -> WorkflowView | None:
    try:
        return await engine_calls.get_workflow(call, workflow_id)
    except errors.Refusal as refusal:
        if refusal.status == 404:  # noqa: PLR2004 - the status that every client knows
            return None
        raise


async def show(call: Call) -> Response:
    """GET /workflows/:id."""
    return answer(workflow_json(await engine_calls.get_workflow(call, call.path_id())))


async def signal(call: Call) -> Response:
    """POST /workflows/:id/signal: a top-level node."""
    name = call.parameters.word("name")
    if name is None:
        raise errors.invalid("name is missing: the signal's")
    return await _signal(call, name)


async def signal_by_name(call: Call) -> Response:
    """POST /workflows/:id/signal/:name: the same; the name in the path wins."""
    name = call.segment("name")
    if not name.strip() or "\0" in name:
        raise errors.invalid("name is missing: the signal's")
    return await _signal(call, name)


async def _signal(call: Call, name: str) -> Response:
    workflow_id = call.path_id()
    node = await call.read(lambda: new_node(call, call.parameters, name, signal=True))
    (node,) = await store_large(call, (node,))
    if node.parent_link_id is not None:
        await check_links(call, (node,))
    target = f"workflow {id_text(workflow_id)}"
    view = await engine_calls.change(
        call,
        commands.Signal,
        workflow_id,
        target,
        workflow_id=workflow_id,
        node=node,
        workflow=_workflow_of_signal(call, workflow_id),
        coalesce_key=call.parameters.text("coalesce_key"),
        coalesce=coalesce(call.parameters),
        beside=bool(call.parameters.flag("beside")),
    )
    (view,) = await call.whole_nodes([view])
    return answer(call.node_json(view), 201)


def _workflow_of_signal(call: Call, workflow_id: bytes) -> NewWorkflow | None:
    """The workflow that a new client sends with its signal: created if there is none, or none any more."""
    parameters = call.parameters.nested("workflow") if call.preferences.whole else None
    if parameters is None:
        return None
    new = _new_workflow(call, parameters.with_keys_as_they_are())
    if ids.workflow_id(new.user_id, new.name, new.subject) != workflow_id:
        raise errors.invalid(f"workflow {id_text(workflow_id)} is another one than the workflow that is told")
    return new


async def complete(call: Call) -> Response:
    """PUT /workflows/:id/complete: refuse further signals."""
    return await _change(call, "complete")


async def pause(call: Call) -> Response:
    """PUT /workflows/:id/pause: start nothing any more."""
    return await _change(call, "pause")


async def resume(call: Call) -> Response:
    """PUT /workflows/:id/resume: start the nodes held up."""
    return await _change(call, "resume")


async def _change(call: Call, change: str) -> Response:
    workflow_id = call.path_id()
    target = f"workflow {id_text(workflow_id)}"
    await engine_calls.change(
        call, commands.ChangeWorkflow, workflow_id, target, workflow_id=workflow_id, change=change
    )
    return success()


# --- nodes -----------------------------------------------------------------------------------------------------------


async def tree(call: Call) -> Response:
    """GET /workflows/:id/tree: nested."""
    page = await read_page(call)
    return await _page_answer(page, lambda: tree_json(page.workflow, page.nodes))


async def print_tree(call: Call) -> Response:
    """GET /workflows/:id/tree/print: coloured text."""
    page = await read_page(call)
    return await _page_answer(page, lambda: {"print": tree_text(page.workflow, page.nodes)})


async def children(call: Call) -> Response:
    """GET /workflows/:id/children: the top-level nodes."""
    page = await read_page(call, top_level_only=True, node_filter=_filter(call))
    page.nodes = await call.whole_nodes(page.nodes)
    return await _page_answer(page, lambda: [call.node_json(node) for node in page.nodes])


async def nodes(call: Call) -> Response:
    """GET /workflows/:id/nodes: all nodes in the order of their creation; a page in the order of the tree."""
    page = await read_page(call, node_filter=_filter(call))
    page.nodes = await call.whole_nodes(page.nodes)

    def make() -> Any:
        if page.whole:
            page.nodes.sort(key=lambda node: node.seq)
        return [call.node_json(node) for node in page.nodes]

    return await _page_answer(page, make)


async def _page_answer(page: Page, make: Callable[[], Any]) -> Response:
    """The answer with the value that `make` returns."""

    def build() -> Response:
        return answer(make(), headers=page.headers)

    return build() if len(page.nodes) < _LARGE else await asyncio.to_thread(build)


class _Filter:
    """Filter of nodes by status words; an unknown word matches none."""

    def __init__(self, server: str | None, client: str | None) -> None:
        self._server = server
        self._client = client

    def __call__(self, nodes: Iterable[NodeView]) -> list[NodeView]:
        return [
            node
            for node in nodes
            if (self._server is None or SERVER_WORDS[node.server] == self._server)
            and (self._client is None or CLIENT_WORDS[node.client] == self._client)
        ]


def _filter(call: Call) -> _Filter | None:
    parameters = call.parameters
    server, client = parameters.text("current_server_status"), parameters.text("current_client_status")
    return None if server is None and client is None else _Filter(server, client)
