"""Signals of one workflow and one coalesce_key: of those that still wait there is one.

The record that finds it follows its node: it is kept whenever such a node is made, sent or closed.
"""

from __future__ import annotations

from backbeat.schemas.messages.status import CLOSED, ServerStatus
from backbeat.streams.core.records import CoalesceIndex, Node
from backbeat.streams.core.step import StatusListener, Step
from backbeat.streams.core.tables import WAITING

_WAITS = frozenset({ServerStatus.READY, ServerStatus.STARTED, ServerStatus.PAUSED})


def still_waits(node: Node) -> bool:
    """Whether a signal was never sent to its client: something is in its way, or its time has not come."""
    return node.attempt == 0 and node.server in _WAITS


def reindex(step: Step, node: Node) -> None:
    """Keep that this node waits under its key, or forget that it did. Another's place is left alone."""
    if not node.coalesce_key:
        return
    transaction, key = step.transaction, (node.workflow_id, node.coalesce_key)
    if still_waits(node):
        transaction.put(WAITING, key, CoalesceIndex(node_id=node.id))
    else:
        waiting = transaction.get(WAITING, key)
        if waiting is not None and waiting.node_id == node.id:
            transaction.delete(WAITING, key)


def _left(step: Step, node: Node, _: ServerStatus) -> None:
    reindex(step, node)


ON_STATUS: dict[ServerStatus, StatusListener] = dict.fromkeys({ServerStatus.SENT_TO_CLIENT, *CLOSED}, _left)
