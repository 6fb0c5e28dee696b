"""View of an engine and a partition of it, as far as the loop knows them."""

from __future__ import annotations

from collections.abc import Callable

from backbeat.schemas.messages.views import EngineView, PartitionState
from backbeat.streams.engine.partition import Partition

#: Makes the view at a time, in milliseconds since the epoch.
Describe = Callable[[Partition, int], EngineView]


def state_of(partition: Partition) -> PartitionState:
    """State of a partition."""
    if partition.store is None:
        return PartitionState.RESTORING
    return PartitionState.READY if partition.caught_up else PartitionState.CATCHING_UP


def plain_view(partition: Partition, now: int) -> EngineView:
    """The view of an engine without a process of its own: in memory, or simulated."""
    store = partition.store
    return EngineView(
        instance="memory",
        version="",
        since=now,
        partition=partition.number,
        state=state_of(partition),
        position=0 if store is None else store.meta.next_offset,
        waiting=len(partition.pending),
    )
