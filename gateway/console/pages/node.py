"""A node: what it waits for, its data, errors, history, and what is below it."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp.web import Response

from backbeat.gateway.console import responses
from backbeat.gateway.console.actions import NODE_ACTIONS, allowed_actions
from backbeat.gateway.console.page_error import PageError, not_found
from backbeat.gateway.console.show.error_text import errors_of
from backbeat.gateway.console.show.links import links_of
from backbeat.gateway.console.tree import Tree, TreeRow
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.http import errors
from backbeat.gateway.http.presentation import CLIENT_WORDS, SERVER_WORDS
from backbeat.gateway.payloads import is_reference
from backbeat.gateway.people.visitor import Right
from backbeat.payload.values import id_text
from backbeat.schemas.messages import queries
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.status import ClientStatus
from backbeat.schemas.messages.views import ChildView, NodeView, Wait

_CHILDREN = 50
#: Errors and status changes that a page shows.
ERRORS = 5
CHANGES = 100
_DATA = ("arguments", "metadata", "result")


class ChangeRow(msgspec.Struct, frozen=True):
    """A status change in words."""

    at: int
    machine: str
    before: str
    after: str


async def show(visit: Visit) -> Page:
    """GET /ui/nodes/{id}."""
    node_id = visit.path_id("node")
    node = await visit.node(node_id)
    history, waits, path = await asyncio.gather(visit.history(node_id), _waits(visit, node_id), _path(visit, node))
    # Most have nothing below them: of these nothing more is asked, neither of the engine nor of the search.
    below = await _below(visit, node) if path[-1].has_children else []
    errors_shown = errors_of(history)
    client = visit.client_name(node.user_id)
    return visit.page(
        "node.html",
        node.name,
        node=node,
        live=f"w={id_text(node.workflow_id)}",
        live_id=id_text(node_id),
        client=client,
        links_out=links_of(
            visit.parts.settings.links,
            {
                "tid": node.tid,
                "node_id": id_text(node.id),
                "workflow_id": id_text(node.workflow_id),
                "client": client,
                "subject": node.subject.decode(errors="replace"),
            },
        ),
        mode=node.mode.name.lower().replace("_", " "),
        data=await _data(visit, node, history) if visit.who.may(Right.PAYLOADS) else None,
        errors=errors_shown[:ERRORS],
        errors_count=len(errors_shown),
        changes=[change_row(change) for change in reversed(history)][:CHANGES],
        changes_count=len(history),
        waits=waits,
        above=path[:-1],
        below=below,
        folds={},
        beginnings={
            row.node.id: f"../workflows/{id_text(node.workflow_id)}?at={id_text(row.node.id)}" for row in below
        },
        actions=allowed_actions(NODE_ACTIONS, node) if visit.may_act else [],
        **visit.deeds(id_text(node_id)),
    )


async def _below(visit: Visit, node: NodeView) -> list[TreeRow]:
    """The first nodes right below it."""
    tree = await Tree.read(visit, node.workflow_id)
    # They are few, and nothing is unfolded here.
    tree.groups_siblings = False
    try:
        return [row for row in await tree.branch(node.id, 0, limit=_CHILDREN) if isinstance(row, TreeRow)]
    except errors.Refusal as error:
        visit.note_engine_trouble(error)
        return []


async def _waits(visit: Visit, node_id: bytes) -> list[Wait]:
    (reply,) = await visit.ask(queries.GetWaits, "node", node_id=node_id)
    return list(reply.waits)


async def _path(visit: Visit, node: NodeView) -> list[ChildView]:
    """The nodes above it, from the top down, and itself."""
    parts = await visit.ask(queries.GetPath, "node", node_id=node.id)
    return [above for part in parts for above in part.nodes]


async def _data(visit: Visit, node: NodeView, history: list[StatusChange]) -> dict[str, bytes | None]:
    return {which: await _text(visit, which, node, history) for which in _DATA}


async def _text(visit: Visit, which: str, node: NodeView, history: list[StatusChange]) -> bytes | None:
    match which:
        case "arguments":
            text: bytes | None = node.client_data
        case "metadata":
            text = node.metadata
        case _:
            text = result_of(history)
    if text is None or not is_reference(text):
        return text
    return await visit.services.payloads.load_or_reference(text)


def result_of(history: list[StatusChange]) -> bytes | None:
    """Response of the newest change of the client status, unless that is an error."""
    newest = next((change for change in reversed(history) if not change.server), None)
    return None if newest is None or newest.to_status == ClientStatus.ERRORED else newest.response


def change_row(change: StatusChange) -> ChangeRow:
    """A status change in words."""
    words = SERVER_WORDS if change.server else CLIENT_WORDS
    machine = "engine" if change.server else "client"
    before, after = (words[status].replace("_", " ") for status in (change.from_status, change.to_status))
    return ChangeRow(change.at, machine, before, after)


async def data(visit: Visit) -> Response:
    """GET /ui/nodes/{id}/data/{which}: a JSON text whole, as a file."""
    which = visit.values["which"]
    if which not in _DATA:
        raise not_found("page")
    node_id = visit.path_id("node")
    node = await visit.node(node_id)
    text = await _text(visit, which, node, await visit.history(node_id) if which == "result" else [])
    if text is None:
        raise PageError(404, "There is none", f"This node has no {which}.")
    return responses.download(text, "application/json", f"{id_text(node_id)}-{which}.json")
