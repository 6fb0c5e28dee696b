"""Lists of workflows and nodes by what they are: one form, one address, newest first."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import msgspec
from aiohttp.web import Response

from backbeat.client.search import SearchCount
from backbeat.gateway.api.search import key_text
from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.pages.lists.bulk import Chip, node_job, workflow_job
from backbeat.gateway.console.pages.lists.downloads import ROWS_MAX, Download, links, respond
from backbeat.gateway.console.pages.overview import CLIENTS_MAX
from backbeat.gateway.console.show.statuses import STATUS_CHOICES
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.http.parameters import find_id
from backbeat.gateway.projection.reading.causes import text_of
from backbeat.gateway.projection.reading.filters import NodeFilters, WorkflowFilters
from backbeat.gateway.projection.reading.workflow_nodes import changes_of_workflow
from backbeat.payload.nouns import time_text
from backbeat.payload.values import id_text
from backbeat.schemas.messages.status import CLOSED, Bucket, word
from backbeat.schemas.messages.views import ChildView, NodeView, WorkflowView

PER_PAGE = 50
#: Rows that are counted at most: `10,000+`.
_COUNT_MAX = 10_000
_CHIPS = {
    "client": "client",
    "name": "name",
    "status": "status",
    "had": "had status",
    "text": "with",
    "since": "changed since",
    "until": "changed until",
    "made_since": "made since",
    "made_until": "made until",
    "tid": "transaction",
    "slot": "waits for a slot of",
    "slot_key": "slot of key",
    "workflow": "of workflow",
    "parent": "below",
    "cause": "failed with",
    "unchanged_since": "unchanged since",
}


_BUCKETS = [bucket.value for bucket in Bucket]


class NodeRow(msgspec.Struct, frozen=True):
    """A node in a list, and as the engine has it now; None: it is closed, or no engine answers."""

    node: NodeView
    client: str
    now: ChildView | None


async def workflows(visit: Visit) -> Page:
    """GET /ui/workflows."""
    client_ids, query = _workflow_query(visit, PER_PAGE)
    rows = await visit.with_projection(lambda: visit.parts.searches.workflows(client_ids, query), None)
    matches = await _count(visit, client_ids, query, rows)
    older = _older(visit, None if rows is None else [row.workflow for row in rows])
    names = {client_id: visit.client_name(client_id) for client_id in {row.workflow.user_id for row in rows or ()}}
    form = _form(visit, "Subject")
    values = {"names": names, "older": older, "matches": matches, "bulk": workflow_job(visit, form["chips"])}
    return visit.page("workflows.html", "Workflows", rows=rows, **values, **form)


async def download_workflows(visit: Visit) -> Response:
    """GET /ui/workflows.csv, /ui/workflows.jsonl."""
    client_ids, query = _workflow_query(visit, ROWS_MAX + 1)
    rows = await visit.with_projection(lambda: visit.parts.searches.workflows(client_ids, query), None)
    if rows is None:
        return await respond(visit, None)
    names = {client_id: visit.client_name(client_id) for client_id in {row.workflow.user_id for row in rows}}
    columns = ("id", "name", "client", "subject", "paused", "closed", "created_at", *_BUCKETS)
    cells = [
        (
            id_text(row.workflow.id),
            row.workflow.name,
            names[row.workflow.user_id],
            msgspec.Raw(row.workflow.subject),
            bool(row.workflow.paused),
            row.workflow.complete,
            time_text(row.workflow.created_at),
            *(sum(share.nodes for share in row.shares if share.bucket == bucket) for bucket in _BUCKETS),
        )
        for row in rows
    ]
    return await respond(visit, Download(columns, cells))


async def download_nodes(visit: Visit) -> Response:
    """GET /ui/nodes.csv, /ui/nodes.jsonl."""
    client_ids, query = _node_query(visit, ROWS_MAX + 1)
    views = await visit.with_projection(lambda: visit.parts.searches.nodes(client_ids, query), None)
    if views is None:
        return await respond(visit, None)
    names = {client_id: visit.client_name(client_id) for client_id in {view.user_id for view in views}}
    columns = ("id", "name", "client", "status", "client_status", "workflow_id", "workflow", "subject", "created_at")
    cells = [
        (
            id_text(view.id),
            view.name,
            names[view.user_id],
            word(view.server),
            word(view.client),
            id_text(view.workflow_id),
            view.workflow_name,
            msgspec.Raw(view.subject),
            time_text(view.created_at),
        )
        for view in views
    ]
    return await respond(visit, Download(columns, cells))


async def download_history(visit: Visit) -> Response:
    """GET /ui/workflows/{id}/history.csv, /ui/workflows/{id}/history.jsonl."""
    workflow_id = visit.path_id("workflow")
    await visit.workflow(workflow_id)
    changes = await visit.read(lambda connection: changes_of_workflow(connection, workflow_id, ROWS_MAX + 1), None)
    if changes is None:
        return await respond(visit, None)
    columns = ("at", "node_id", "name", "whose_status", "status")
    cells = [(time_text(change.at), id_text(change.node_id), *change[2:]) for change in changes]
    return await respond(visit, Download(columns, cells))


def _workflow_query(visit: Visit, per_page: int) -> tuple[list[bytes], WorkflowFilters]:
    """Clients to search, and the filters that the address has. PageError 400."""
    client_ids, filters = _filters(visit)
    return client_ids, WorkflowFilters(subject_contains=visit.query.get("text") or None, per_page=per_page, **filters)


def _node_query(visit: Visit, per_page: int) -> tuple[list[bytes], NodeFilters]:
    """Clients to search, and the filters that the address has. PageError 400, 403."""
    client_ids, filters = _filters(visit)
    if visit.query.get("text"):
        visit.refuse_metadata()
    return client_ids, NodeFilters(
        metadata_contains=visit.query.get("text") or None,
        workflow_id=_id(visit, "workflow"),
        parent_id=_id(visit, "parent"),
        cause=visit.query.get("cause") or None,
        unchanged_since_ms=visit.time_of(visit.query, "unchanged_since"),
        per_page=per_page,
        **filters,
    )


async def nodes(visit: Visit) -> Page:
    """GET /ui/nodes."""
    client_ids, query = _node_query(visit, PER_PAGE)
    views = await visit.with_projection(lambda: visit.parts.searches.nodes(client_ids, query), None)
    rows = None if views is None else await _node_rows(visit, views)
    texts = {"cause": await _cause_text(visit)} if visit.query.get("cause") else {}
    form = {**_form(visit, "Metadata", texts), "matches": await _count(visit, client_ids, query, views)}
    bulk = node_job(visit, form["chips"])
    return visit.page("nodes.html", "Nodes", rows=rows, older=_older(visit, views), bulk=bulk, **form)


async def _count(
    visit: Visit, client_ids: list[bytes], query: WorkflowFilters | NodeFilters, rows: Sized | None
) -> SearchCount | None:
    """Number of rows that match, up to a bound; None where the page has all of them, or the search is away."""
    if rows is None or len(rows) < PER_PAGE:
        return None
    filters = msgspec.structs.replace(query, older_than=None)
    return await visit.with_projection(lambda: visit.parts.searches.count(client_ids, filters, _COUNT_MAX), None)


def _id(visit: Visit, name: str) -> bytes | None:
    """An id in the query. PageError 400."""
    text = visit.query.get(name)
    if not text:
        return None
    identity = find_id(text)
    if identity is None:
        raise PageError(400, f"{text[:40]!r} is no id", f"A {name} is given by its id, as its page's address has it.")
    return identity


async def _node_rows(visit: Visit, views: list[NodeView]) -> list[NodeRow]:
    open_ids = [view.id for view in views if view.server not in CLOSED]
    now = await visit.nodes(open_ids)
    return [NodeRow(view, visit.client_name(view.user_id), now.get(view.id)) for view in views]


def _filters(visit: Visit) -> tuple[list[bytes], dict[str, Any]]:
    """Clients to search, and the filters that both lists have. 400."""
    query = visit.query
    if query.get("slot_key"):
        visit.refuse_metadata()
    chosen = visit.chosen_clients()
    if len(chosen) > CLIENTS_MAX:
        visit.troubles.append(f"Of {len(chosen)} clients only the first {CLIENTS_MAX} are searched: choose one.")
    filters = {
        "name": query.get("name") or None,
        "current_status": query.get("status") or None,
        "past_status": query.get("had") or None,
        "status_start_ms": visit.time_of(visit.query, "since"),
        "status_end_ms": visit.time_of(visit.query, "until"),
        "created_start_ms": visit.time_of(visit.query, "made_since"),
        "created_end_ms": visit.time_of(visit.query, "made_until"),
        "tid": query.get("tid") or None,
        "slot": query.get("slot") or None,
        "slot_key": key_text(query["slot_key"]) if query.get("slot_key") else None,
        "older_than": _position(visit),
    }
    return [client.id_bytes for client in chosen[:CLIENTS_MAX]], filters


def _position(visit: Visit) -> tuple[int, bytes] | None:
    """Position behind which the page begins: `created:id`."""
    text = visit.query.get("before")
    if not text:
        return None
    created, _, identity = text.partition(":")
    node_id = find_id(identity)
    if not created.isdecimal() or len(created) > 15 or node_id is None:  # noqa: PLR2004 - digits of the year 9999
        raise PageError(
            400, "This address is broken", "Its `before` is no position in a list: begin with the first page."
        )
    return int(created), node_id


def _older(visit: Visit, views: list[NodeView] | list[WorkflowView] | None) -> str | None:
    """Address of the next page; None: there is none."""
    if not views or len(views) < PER_PAGE:
        return None
    return visit.address(before=f"{views[-1].created_at}:{id_text(views[-1].id)}")


async def _cause_text(visit: Visit) -> str:
    """Text of the cause that is asked for; its id where nothing has failed with it any more, or the search is away."""
    cause_id = visit.query["cause"]
    clients = None if visit.who.clients is None else list(visit.who.clients)
    text = await visit.read(lambda connection: text_of(connection, clients, cause_id), None)
    if text is None:
        return cause_id
    return text or "no error that is known"


def _form(visit: Visit, text_label: str, texts: dict[str, str] | None = None) -> dict[str, Any]:
    """Values of the form; `texts`: filters in words, where these are others than those of the address."""
    words = dict(STATUS_CHOICES)
    values = {name: words.get(visit.query[name], visit.query[name]) for name in _CHIPS if visit.query.get(name)}
    of_nodes = text_label == "Metadata"
    chips = [
        Chip(name, _CHIPS[name], value, visit.address(**{name: None, "before": None}))
        for name, value in {**values, **(texts or {})}.items()
    ]
    return {
        "chips": chips,
        "clients": [client.name for client in visit.clients()],
        "statuses": STATUS_CHOICES,
        "buckets": list(Bucket),
        "of_nodes": of_nodes,
        "text_label": text_label,
        "query": {name: visit.query.get(name, "") for name in _CHIPS},
        "is_first": not visit.query.get("before"),
        "first": visit.address(before=None),
        "downloads": links(visit, "nodes" if of_nodes else "workflows"),
    }
