"""WaitNode queries that wait until a node is done."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from backbeat.schemas.messages import ids
from backbeat.schemas.messages.queries import WaitNode
from backbeat.schemas.messages.status import CLOSED, ServerStatus
from backbeat.streams.core import effects as fx

_WORTH_WAITING_FOR = CLOSED | {ServerStatus.RETRIES_EXHAUSTED}


class NodeWaits:
    """The waits of all partitions, by node and by deadline. Returned waits are removed."""

    def __init__(self) -> None:
        self._by_node: dict[bytes, list[WaitNode]] = {}
        #: (deadline, node id), the earliest first; the node may be done already
        self._ends: list[tuple[int, bytes]] = []

    def __bool__(self) -> bool:
        return bool(self._by_node)

    def add(self, query: WaitNode) -> None:
        """Add a wait."""
        self._by_node.setdefault(query.node_id, []).append(query)
        heapq.heappush(self._ends, (query.deadline, query.node_id))

    def wake(self, effect: fx.StatusChanged) -> Iterator[WaitNode]:
        """Waits for nodes that a command has closed, or whose retries are exhausted."""
        for change in effect.changes:
            if change.change.server and change.change.to_status in _WORTH_WAITING_FOR:
                yield from self._by_node.pop(change.node_id, ())

    def end(self, now: int) -> Iterator[WaitNode]:
        """Waits whose deadline has passed."""
        while self._ends and self._ends[0][0] <= now:
            _, node_id = heapq.heappop(self._ends)
            waiting = self._by_node.pop(node_id, [])  # Empty: the node was done before.
            remaining = [query for query in waiting if query.deadline > now]
            if remaining:
                self._by_node[node_id] = remaining
            yield from [query for query in waiting if query.deadline <= now]

    def take(self, number: int, partitions_count: int) -> list[WaitNode]:
        """All waits for nodes of a partition."""
        node_ids = [node_id for node_id in self._by_node if ids.partition_of(node_id, partitions_count) == number]
        return [query for node_id in node_ids for query in self._by_node.pop(node_id)]
