"""Lists of nodes with what each waits for: those below a node, and those above it. Pure; read by pointers."""

from __future__ import annotations

from collections.abc import Iterator

from backbeat.schemas.messages.activities import error_text
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.schemas.messages.views import ChildView
from backbeat.streams.core.records import Node, Parent, Workflow
from backbeat.streams.core.store import Store
from backbeat.streams.core.tables import CHUNKS, NODES
from backbeat.streams.core.takes.allowance import is_allowed_failure
from backbeat.streams.core.traverse import RemovedError
from backbeat.streams.core.tree import history
from backbeat.streams.core.tree.deactivation import Marks, is_deactivated
from backbeat.streams.core.waits.waits import changed_at, waits_of

#: Characters of an error in a list.
_ERROR_CHARACTERS_MAX = 300
_CLIENT_ERROR = (False, ClientStatus.ERRORED)
_WITH_ERROR = {
    ServerStatus.RETRYING: _CLIENT_ERROR,
    ServerStatus.RETRIES_EXHAUSTED: _CLIENT_ERROR,
    ServerStatus.ERRORED: (True, ServerStatus.ERRORED),
}


def children_from(store: Store, parent: Parent, first: Node | None, after: Node | None) -> Iterator[Node]:
    """The children of a node or workflow, from `first` on or behind `after`. RemovedError: it was removed meanwhile."""
    child_id = parent.first_child
    if first is not None:
        child_id = first.id
    elif after is not None:
        child_id = after.next_sibling
    while child_id is not None:
        child = _stored(store, child_id)
        yield child
        child_id = child.next_sibling


def path_to(store: Store, node: Node) -> list[Node]:
    """The nodes above a node, from the top down, and the node."""
    path = [node]
    while path[-1].parent_id is not None:
        path.append(_stored(store, path[-1].parent_id))
    return path[::-1]


def _stored(store: Store, node_id: bytes) -> Node:
    node = store.get(NODES, node_id)
    if node is None:
        raise RemovedError(f"The node {node_id.hex()} was removed while its siblings were read")
    return node


def child_view(store: Store, node: Node, workflow: Workflow, marks: Marks) -> ChildView:
    """A node as a list shows it."""
    server = ServerStatus.DEACTIVATED if is_deactivated(store, node, workflow, marks) else node.server
    is_open = server is not ServerStatus.DEACTIVATED
    since = changed_at(store, node)
    return ChildView(
        id=node.id,
        parent_id=node.parent_id,
        user_id=node.user_id,
        name=node.name,
        mode=node.mode,
        type=node.type,
        server=server,
        client=node.client,
        created_at=node.created_at,
        changed_at=since,
        attempt=node.attempt,
        retries_remaining=node.retries_remaining,
        depth=node.depth,
        seq=node.seq,
        has_children=node.first_child is not None,
        children_open=node.children_open,
        error=_last_error(store, node)[:_ERROR_CHARACTERS_MAX] if _has_failed(node, server) else "",
        wait=next(waits_of(store, node, workflow, since), None) if is_open else None,
    )


def _has_failed(node: Node, server: ServerStatus) -> bool:
    is_given_up = node.client is ClientStatus.SHUTDOWN and server is not ServerStatus.DEACTIVATED
    return server in _WITH_ERROR or is_given_up or is_allowed_failure(node)


def _last_error(store: Store, node: Node) -> str:
    """The text of the error that brought the node where it is: among its newest changes."""
    error_change = _WITH_ERROR.get(node.server, _CLIENT_ERROR)
    for content in (node.history, _older(store, node)):
        for change in reversed(list(history.unpack(content))):
            if (change.server, change.to_status) == error_change:
                return error_text(change.response)
    return ""


def _older(store: Store, node: Node) -> bytes:
    """The newest chunk of a node's history; empty where it has none."""
    if not node.history_chunks:
        return b""
    return store.get(CHUNKS, (node.id, node.history_chunks - 1)) or b""
