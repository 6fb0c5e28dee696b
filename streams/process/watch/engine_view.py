"""View of this engine's process and of a partition that it has: what `GetEngine` answers."""

from __future__ import annotations

from msgspec.structs import replace

from backbeat.observe.prometheus import version
from backbeat.schemas.messages.views import EngineView
from backbeat.streams.engine.partition import Partition
from backbeat.streams.engine.view import Describe, plain_view
from backbeat.streams.ports.host_clock import HostClock
from backbeat.streams.state.restorer import Restorer
from backbeat.streams.state.store import PartitionStore


def describe_as(instance: str, restorer: Restorer, host_clock: HostClock) -> Describe:
    """Function that makes the view of the engine with this instance id, which starts now."""
    since, version_now = int(host_clock.time() * 1000), version()

    def describe(partition: Partition, now: int) -> EngineView:
        view = replace(plain_view(partition, now), instance=instance, version=version_now, since=since)
        store = partition.store
        if isinstance(store, PartitionStore):
            overdue, oldest = store.timers.overdue(now)
            timers_soon = store.timers.waiting_soon
            return replace(view, timers_soon=timers_soon, timers_overdue=overdue, overdue_since=oldest)
        restore = restorer.under_way.get(partition.number)
        if restore is None:
            return replace(view, restored=0.0)
        return replace(view, restored=restore.ratio, restore_left=restore.remaining)

    return describe
