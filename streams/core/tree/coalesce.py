"""Signals of one workflow and one coalesce_key: of those that still wait there is one.

The record that finds it follows its node: it is written down whenever such a node is made, sent or closed.
"""

from __future__ import annotations

from backbeat.schemas.messages.status import ServerStatus
from backbeat.streams.core.records import CoalesceIndex, Node
from backbeat.streams.core.store import Store

_WAITS = frozenset({ServerStatus.READY, ServerStatus.STARTED, ServerStatus.PAUSED})


def still_waits(node: Node) -> bool:
    """Whether a signal was never sent to its client: something is in its way, or its time has not come."""
    return node.attempt == 0 and node.server in _WAITS


def write_down(store: Store, node: Node) -> None:
    """Keep that this node waits under its key, or forget that it did. Another's place is left alone."""
    workflow_id, key = node.workflow_id, node.coalesce_key
    found = store.get_waiting(workflow_id, key)
    if still_waits(node):
        store.put_waiting(workflow_id, key, CoalesceIndex(node_id=node.id))
    elif found is not None and found.node_id == node.id:
        store.delete_waiting(workflow_id, key)
