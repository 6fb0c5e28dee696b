"""Coalescing: at most one waiting signal for a workflow and coalesce_key.

Its index is updated whenever such a node is created, sent or closed.
"""

from __future__ import annotations

from backbeat.schemas.messages.status import CLOSED, ServerStatus
from backbeat.streams.core.records import CoalesceIndex, Node
from backbeat.streams.core.step import StatusListener, Step
from backbeat.streams.core.tables import COALESCE_INDEX
from backbeat.streams.core.tree import status

_WAITS = frozenset({status.READY, status.STARTED, status.PAUSED})


def still_waits(node: Node) -> bool:
    """True when a signal was never sent to its client: it waits for another node, or for its time."""
    return node.attempt == 0 and node.server in _WAITS


def reindex(step: Step, node: Node) -> None:
    """Put or delete the index entry of a node's coalesce_key. Leaves another node's entry untouched."""
    if not node.coalesce_key:
        return
    transaction, key = step.transaction, (node.workflow_id, node.coalesce_key)
    if still_waits(node):
        transaction.put(COALESCE_INDEX, key, CoalesceIndex(node_id=node.id))
    else:
        waiting = transaction.get(COALESCE_INDEX, key)
        if waiting is not None and waiting.node_id == node.id:
            transaction.delete(COALESCE_INDEX, key)


def _reindex_on_status(step: Step, node: Node, _: ServerStatus) -> None:
    reindex(step, node)


ON_STATUS: dict[ServerStatus, StatusListener] = dict.fromkeys({status.SENT_TO_CLIENT, *CLOSED}, _reindex_on_status)
