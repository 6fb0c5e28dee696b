"""The result of a node, as its takers get it: from its history, the same at every reading."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from backbeat.schemas.messages.activities import error_text
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.streams.core.records import Node
from backbeat.streams.core.step import Step
from backbeat.streams.core.store import Store
from backbeat.streams.core.tables import CHUNKS, NODES
from backbeat.streams.core.tree import history, status

#: Client statuses after which a complete node has a result.
_DONE = (ClientStatus.COMPLETE, ClientStatus.RESOLVED)
#: Characters of an error's message where the results of a group are taken.
_MESSAGE_CHARACTERS_MAX = 300


def is_counted(child: Node) -> bool:
    """True for a child whose result belongs to those of its parent's children."""
    is_added = child.follow_ups is not None and child.follow_ups.is_added
    return child.mode is not status.FIRE_AND_FORGET and not is_added


def has_result(store: Store, node: Node) -> bool:
    """True when a node is complete with a result, or was before it was deactivated."""
    if node.client not in _DONE or (node.flow is not None and node.flow.lacks_result):
        return False
    if node.server is not status.DEACTIVATED:
        return node.server is status.COMPLETE
    return any(change.server and change.to_status is ServerStatus.COMPLETE for change in newest_first(store, node))


def result_of(store: Store, node: Node) -> bytes | None:
    """The response of a node that has a result: that of the child that it returns, else its own."""
    for change in newest_first(store, node):
        if change.server:
            if change.to_status is ServerStatus.COMPLETE and change.response is not None:
                return change.response
        elif change.to_status in _DONE:
            return change.response
    return None


def failure_of(store: Store, node: Node) -> bytes:
    """The error with which a node has failed for good, as a response with its message alone."""
    for change in newest_first(store, node):
        if not change.server and change.to_status is ClientStatus.ERRORED:
            message = error_text(change.response)[:_MESSAGE_CHARACTERS_MAX]
            return msgspec.json.encode({"error": {"message": message}})
    return b'{"error":{"message":""}}'


def returned(step: Step, node: Node) -> bytes | None:
    """The response of the child that a complete node returns. Where the child has no result, the node has none."""
    flow = node.flow
    assert flow is not None, "a node that returns no child"
    assert flow.returns is not None, "a node that returns no child"
    child = step.transaction.get(NODES, flow.returns)
    if child is not None and has_result(step.transaction, child):
        return result_of(step.transaction, child)
    node.flow = replace(flow, lacks_result=True)
    return None


def newest_first(store: Store, node: Node) -> Iterator[StatusChange]:
    """A node's status changes, the newest first."""
    yield from reversed(list(history.unpack(node.history)))
    for number in reversed(range(node.history_chunks)):
        chunk = store.get(CHUNKS, (node.id, number))
        yield from reversed(list(history.unpack(chunk or b"")))
