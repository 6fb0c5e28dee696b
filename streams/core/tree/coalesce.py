"""Signals of one workflow and one coalesce_key: of those that still wait there is one.

The record that finds it follows its node: it is written down whenever such a node is made, sent or closed.
"""

from __future__ import annotations

from backbeat.schemas.messages.status import ServerStatus
from backbeat.streams.core.records import CoalesceIndex, Node
from backbeat.streams.core.tables import WAITING
from backbeat.streams.core.transaction import Transaction

_WAITS = frozenset({ServerStatus.READY, ServerStatus.STARTED, ServerStatus.PAUSED})


def still_waits(node: Node) -> bool:
    """Whether a signal was never sent to its client: something is in its way, or its time has not come."""
    return node.attempt == 0 and node.server in _WAITS


def write_down(transaction: Transaction, node: Node) -> None:
    """Keep that this node waits under its key, or forget that it did. Another's place is left alone."""
    key = (node.workflow_id, node.coalesce_key)
    if still_waits(node):
        transaction.put(WAITING, key, CoalesceIndex(node_id=node.id))
    else:
        waiting = transaction.get(WAITING, key)
        if waiting is not None and waiting.node_id == node.id:
            transaction.delete(WAITING, key)
