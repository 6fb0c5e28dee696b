"""Archives of workflows that were removed by their retention, as a gateway reads them. `client.archives`."""

from __future__ import annotations

from typing import Any

import msgspec

from backbeat.client.node import Node
from backbeat.client.session import Session
from backbeat.client.views import StatusChange, Workflow
from backbeat.schemas.requests.decoding import from_json
from backbeat.transport.http_values import read_history, read_node, read_workflow

_PAGE_MAX = 1_000


class ArchiveEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A folder of archives, or an archive."""

    name: str  #: what `list` and `read` take
    label: str  #: the client application, the workflows' name, the day, or the file
    is_folder: bool


class ArchivedNode(msgspec.Struct, frozen=True):
    """A node of an archived workflow. It is not there any more: its own calls raise NotFound."""

    node: Node
    history: list[StatusChange]  #: oldest first


class ArchivedWorkflow(msgspec.Struct, frozen=True):
    """An archived workflow with its nodes, parents before children."""

    client: str  #: the client application's name
    workflow: Workflow
    nodes: list[ArchivedNode]


class _Node(msgspec.Struct, rename="camel"):
    node: msgspec.Raw
    status_changes: msgspec.Raw


class _Page(msgspec.Struct, rename="camel"):
    client: str
    workflow: msgspec.Raw
    nodes: list[_Node]


_Entries = list[ArchiveEntry]


class Archives:
    """Archives of this client application; a person who sees all has all. A gateway reads them (`--archive-to`)."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def list(self, under: str = "") -> list[ArchiveEntry]:
        """Folders and archives right in a folder: client applications, then workflows' names, days, archives."""
        entries: _Entries = []
        after: str | None = None
        while True:
            filters: dict[str, Any] = {"under": under.strip("/") or None, "after": after, "limit": _PAGE_MAX}
            text, after = await self._session.search("archives", filters)
            entries += from_json(text, _Entries)
            if after is None:
                return entries

    async def read(self, name: str) -> ArchivedWorkflow:
        """An archived workflow, by its name in `list`. NotFound."""
        nodes: _Nodes = []
        after: str | None = None
        while True:
            filters = {"name": name, "after": after, "limit": _PAGE_MAX}
            text, after = await self._session.search("archive", filters)
            page = from_json(text, _Page)
            nodes += [self._node(line) for line in page.nodes]
            if after is None:
                return ArchivedWorkflow(page.client, Workflow(read_workflow(bytes(page.workflow))), nodes)

    def _node(self, line: _Node) -> ArchivedNode:
        history = read_history(bytes(line.status_changes))
        return ArchivedNode(Node(self._session, read_node(bytes(line.node))), list(map(StatusChange, history)))


_Nodes = list[ArchivedNode]
