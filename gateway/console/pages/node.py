"""A node: what it waits for, its data, errors, history, and what is below it."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp.web import Response

from backbeat.gateway.console import responses
from backbeat.gateway.console.actions import NODE_ACTIONS, allowed_actions
from backbeat.gateway.console.page_error import PageError, not_found
from backbeat.gateway.console.pages.workflow import TreeRow, read_tree, tree_row
from backbeat.gateway.console.people.visitor import Right
from backbeat.gateway.console.show.error_text import errors_of
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.http import errors
from backbeat.gateway.http.presentation import CLIENT_WORDS, SERVER_WORDS
from backbeat.gateway.payloads import is_reference
from backbeat.payload.values import id_text
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.status import ClientStatus
from backbeat.schemas.messages.views import NodeView

_CHILDREN = 50
_ERRORS = 5
_CHANGES = 100
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
    history, below = await asyncio.gather(visit.history(node_id), _below(visit, node))
    errors_shown = errors_of(history)
    return visit.page(
        "node.html",
        node.name,
        node=node,
        client=visit.client_name(node.user_id),
        mode=node.mode.name.lower().replace("_", " "),
        data=await _data(visit, node, history) if visit.who.may(Right.PAYLOADS) else None,
        errors=errors_shown[:_ERRORS],
        errors_count=len(errors_shown),
        changes=[_change_row(change) for change in reversed(history)][:_CHANGES],
        changes_count=len(history),
        below=below[:_CHILDREN],
        is_more_below=len(below) > _CHILDREN,
        actions=allowed_actions(NODE_ACTIONS, node) if visit.may_act else [],
        **visit.deeds(subject_id=id_text(node_id)),
    )


async def _below(visit: Visit, node: NodeView) -> list[TreeRow]:
    """The first nodes below it: those behind it in the tree, up to the next one that is not deeper."""
    try:
        nodes = await read_tree(visit, node.workflow_id, limit=_CHILDREN + 1, after=node.id)
    except errors.Refusal as error:
        visit.note_engine_trouble(error)
        return []
    rows = []
    for other in nodes:
        if other.depth <= node.depth:
            break
        rows.append(tree_row(visit, other, node.depth + 1))
    return rows


async def _data(visit: Visit, node: NodeView, history: list[StatusChange]) -> dict[str, bytes | None]:
    return {which: await _text(visit, which, node, history) for which in _DATA}


async def _text(visit: Visit, which: str, node: NodeView, history: list[StatusChange]) -> bytes | None:
    match which:
        case "arguments":
            text: bytes | None = node.client_data
        case "metadata":
            text = node.metadata
        case _:
            text = _result(history)
    if text is None or not is_reference(text):
        return text
    return await visit.services.payloads.load_or_reference(text)


def _result(history: list[StatusChange]) -> bytes | None:
    """Response of the newest change of the client status, unless that is an error."""
    newest = next((change for change in reversed(history) if not change.server), None)
    return None if newest is None or newest.to_status == ClientStatus.ERRORED else newest.response


def _change_row(change: StatusChange) -> ChangeRow:
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
