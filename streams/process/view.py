"""View of this engine's process and of a partition that it has: what `GetEngine` answers."""

from __future__ import annotations

import time

from backbeat.observe.prometheus import version
from backbeat.schemas.messages.engines import EngineView
from backbeat.streams.engine.partition import Partition
from backbeat.streams.engine.view import Describe, state_of
from backbeat.streams.state.restorer import Restorer
from backbeat.streams.state.store import PartitionStore


def describe_as(instance: str, restorer: Restorer) -> Describe:
    """What tells of the engine of this instance id, from now on."""
    since, version_now = time.time_ns() // 1_000_000, version()

    def describe(partition: Partition, now: int) -> EngineView:
        store, restore = partition.store, restorer.under_way.get(partition.number)
        if not isinstance(store, PartitionStore):
            return EngineView(
                instance=instance,
                version=version_now,
                since=since,
                partition=partition.number,
                state=state_of(partition),
                restored=0.0 if restore is None else restore.ratio,
                restore_left=0 if restore is None else restore.remaining,
            )
        overdue, oldest = store.timers.overdue(now)
        return EngineView(
            instance=instance,
            version=version_now,
            since=since,
            partition=partition.number,
            state=state_of(partition),
            position=store.meta.next_offset,
            waiting=len(partition.pending),
            timers_soon=store.timers.waiting_soon,
            timers_overdue=overdue,
            overdue_since=oldest,
        )

    return describe
