"""Archives: folders of them, and an archived workflow read in the same tree and node pages as a live one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec

from backbeat.errors import BackbeatError, NotFound
from backbeat.gateway.archiving import ArchiveStore, folders
from backbeat.gateway.console.archive_cache import ReadArchive
from backbeat.gateway.console.page_error import PageError, not_found
from backbeat.gateway.console.pages.node import CHANGES, ERRORS, change_row, result_of
from backbeat.gateway.console.show.error_text import errors_of
from backbeat.gateway.console.show.statuses import shares
from backbeat.gateway.console.tree import Tree, TreeRow
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.http.parameters import find_id
from backbeat.payload.values import id_text
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.status import CLOSED
from backbeat.schemas.messages.views import ChildView, NodeView

T = TypeVar("T")

_ROWS = 200
_OPENED_MAX = 20


class EntryRow(msgspec.Struct, frozen=True):
    """A folder, or an archive."""

    label: str
    address: str
    is_folder: bool


class ArchiveTree(Tree):
    """Branches of an archived tree."""

    def __init__(self, visit: Visit, read: ReadArchive) -> None:
        super().__init__(visit, read.archive.workflow.id, {})
        self._below = read.below
        self._history = read.archive.history
        # The search knows nothing of it.
        self.groups_siblings = False

    async def _children(self, parent_id: bytes, first: bytes | None, limit: int) -> list[ChildView]:
        nodes = self._below.get(parent_id, [])
        begin = next((place for place, node in enumerate(nodes) if node.id == first), 0)
        return [self._child(node) for node in nodes[begin : begin + limit + 1]]

    def begin_at(self, parent_id: bytes, first: bytes | None) -> None:
        """Show the children of a node from this one on, where it is not among the first."""
        if first is not None:
            self._shown_child[parent_id] = first

    def _child(self, node: NodeView) -> ChildView:
        history = self._history.get(node.id, ())
        failed = errors_of(history[-1:])
        below = self._below.get(node.id, [])
        return ChildView(
            id=node.id,
            parent_id=node.parent_id,
            user_id=node.user_id,
            name=node.name,
            mode=node.mode,
            type=node.type,
            server=node.server,
            client=node.client,
            created_at=node.created_at,
            changed_at=history[-1].at if history else node.created_at,
            attempt=node.attempt,
            retries_remaining=node.retries_remaining,
            depth=node.depth,
            seq=node.seq,
            has_children=bool(below),
            children_open=sum(child.server not in CLOSED for child in below),
            error=failed[0].message if failed else "",
            wait=None,
        )


def _store(visit: Visit) -> ArchiveStore:
    store = visit.services.archive_store
    if store is None:
        raise PageError(
            404,
            "This gateway knows of no archives",
            "Start it with --archive-to URL, that of the store; backbeat archive list URL reads one, too.",
        )
    return store


def _parts(visit: Visit, name: str) -> list[str]:
    """The parts of a name below the store. 400: it leads out of it; 404: it is a client's that is not seen."""
    parts = folders.parts(name)
    if parts is None:
        raise PageError(400, "This address is broken", "It names no folder of archives.")
    seen = _seen(visit)
    if parts and seen is not None and parts[0] not in seen:
        raise not_found("archive")
    return parts


def _seen(visit: Visit) -> set[str] | None:
    """Folders of the clients that the visitor sees; None: all."""
    return None if visit.who.clients is None else {folders.of_client(client.name) for client in visit.clients()}


async def _available(visit: Visit, work: Callable[[], T]) -> T:
    try:
        async with visit.services.large_answers:
            return await asyncio.to_thread(work)
    except BackbeatError as error:
        raise PageError(503, "The archives cannot be read", str(error)) from error


async def show_all(visit: Visit) -> Page:
    """GET /ui/archives?under=…: what is right in a folder."""
    store = _store(visit)
    under, after = visit.query.get("under", "").strip("/"), visit.query.get("after", "")
    parts = _parts(visit, under)
    if len(parts) >= folders.PARTS:
        raise PageError(400, "This address is broken", "Archives lie in folders by client, workflow and day.")
    seen = _seen(visit)
    names = await _available(visit, lambda: folders.children(store, under, _ROWS + 1, after, seen))
    rows = [_row(visit, under, name) for name in names[:_ROWS]]
    return visit.page(
        "archives.html",
        "Archives",
        rows=rows,
        crumbs=[
            (folders.label(f"{part}/"), visit.address(under="/".join(parts[: place + 1]), after=None))
            for place, part in enumerate(parts)
        ],
        more=visit.address(after=names[_ROWS - 1]) if len(names) > _ROWS else None,
    )


def _row(visit: Visit, under: str, name: str) -> EntryRow:
    path = f"{under}/{name}" if under else name
    if name.endswith("/"):
        return EntryRow(folders.label(name), visit.address(under=path.rstrip("/"), after=None), True)
    return EntryRow(folders.label(name), visit.address_of("archive", name=path), False)


async def show(visit: Visit) -> Page:
    """GET /ui/archive?name=…&open=…&node=…: an archived workflow, or a node of it."""
    store = _store(visit)
    name = visit.query.get("name", "")
    if len(_parts(visit, name)) != folders.PARTS or not folders.is_archive(name):
        raise PageError(400, "This address is broken", "It names no archive.")
    try:
        read = await visit.parts.archives.read(store, name, visit.services.large_answers)
    except NotFound as error:
        raise not_found("archive") from error
    except BackbeatError as error:
        raise PageError(503, "This archive cannot be read", str(error)) from error
    # The folder is named after the client; whose it is says the workflow itself.
    if not visit.who.sees(read.archive.workflow.user_id):
        raise not_found("archive")
    if visit.query.get("node"):
        return _node(visit, read)
    return await _workflow(visit, read)


async def _workflow(visit: Visit, read: ReadArchive) -> Page:
    workflow = read.archive.workflow
    tree = ArchiveTree(visit, read)
    opened = visit.query.get("open")
    if opened is None:
        tree.opened |= {node.id for node in read.archive.nodes[:1]}
    else:
        tree.opened |= {identity for text in opened.split(",")[:_OPENED_MAX] if (identity := find_id(text))}
    first = find_id(visit.query.get("first"))
    first_node = None if first is None else read.nodes.get(first)
    parent = None if first_node is None else first_node.parent_id
    if parent is not None:
        tree.opened.add(parent)
    tree.begin_at(parent or workflow.id, first)
    tree.many = find_id(visit.query.get("many"))
    rows = [row for row in await tree.branch(workflow.id, 0) if isinstance(row, TreeRow)]
    unfolded = [id_text(row.node.id) for row in rows if row.is_unfolded]
    return visit.page(
        "archive.html",
        f"{workflow.name} {workflow.subject.decode(errors='replace')[:80]}",
        workflow=workflow,
        client=read.archive.client,
        rows=rows,
        shares=shares(read.counts),
        addresses_of={row.node.id: visit.address(node=id_text(row.node.id)) for row in rows},
        folds={
            row.node.id: visit.address(
                open=",".join(
                    (set(unfolded) - {id_text(row.node.id)})
                    if row.is_unfolded
                    else [*unfolded, id_text(row.node.id)][-_OPENED_MAX:]
                )
                or ",",
                first=None,
            )
            for row in rows
            if row.kind == "node" and row.node.has_children
        },
        beginnings={row.node.id: visit.address(first=id_text(row.node.id), open=",".join(unfolded)) for row in rows},
        manys={
            row.node.id: visit.address(many=id_text(row.node.parent_id or workflow.id), open=",".join(unfolded))
            for row in rows
        },
        from_the_first=visit.address(first=None, open=",".join(unfolded) or ","),
    )


def _node(visit: Visit, read: ReadArchive) -> Page:
    node = read.nodes.get(find_id(visit.query["node"]) or b"")
    if node is None or not visit.who.sees(node.user_id):
        raise not_found("node in this archive")
    history: list[StatusChange] = list(read.archive.history.get(node.id, ()))
    errors_shown = errors_of(history)
    return visit.page(
        "archive_node.html",
        node.name,
        node=node,
        workflow=read.archive.workflow,
        client=visit.client_name(node.user_id),
        mode=node.mode.name.lower().replace("_", " "),
        tree=visit.address(node=None),
        data={"arguments": node.client_data, "metadata": node.metadata, "result": result_of(history)}
        if visit.may_read_payloads
        else None,
        errors=errors_shown[:ERRORS],
        errors_count=len(errors_shown),
        changes=[change_row(change) for change in reversed(history)][:CHANGES],
        changes_count=len(history),
    )
