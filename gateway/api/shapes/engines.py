"""JSON of the engines: which has which partition, and how that stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from backbeat.schemas.messages.views import EngineView


class EnginePartition(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A partition, as the engine tells that has it."""

    partition: int
    state: Annotated[
        Literal["ready", "restoring", "catching_up", "silent"],
        Meta(description="silent: nobody has answered within two seconds"),
    ]
    engine: Annotated[str | None, Meta(description="the instance that has it; null: it is silent")]
    position: Annotated[int, Meta(description="offset of the next command that it applies")]
    waiting: Annotated[int, Meta(description="commands that it has read and not applied")]
    restored: Annotated[float, Meta(description="of a restore: the share that is done, 0 to 1")]
    restore_left: Annotated[int, Meta(description="of a restore: offsets of the state topic still to be read")]
    timers_soon: Annotated[int, Meta(description="timers that are due within a minute")]
    timers_overdue: Annotated[int, Meta(description="timers in memory that are due, not applied yet: 20,000 at most")]
    overdue_since: Annotated[
        int | None, Meta(description="when the first of these was due, milliseconds since the epoch")
    ]


class EngineProcess(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An engine that has answered."""

    instance: str
    version: str
    since: Annotated[int, Meta(description="when it was started, milliseconds since the epoch")]
    partitions: list[int]


class EngineReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The engines that have answered, and all partitions."""

    at: Annotated[int, Meta(description="milliseconds since the epoch")]
    engines: list[EngineProcess]
    partitions: list[EnginePartition]


def report_of(views: Sequence[EngineView | None], at: int) -> EngineReport:
    """The report of the views, one for each partition."""
    owned: dict[str, list[EngineView]] = {}
    for view in views:
        if view is not None:
            owned.setdefault(view.instance, []).append(view)
    return EngineReport(
        at=at,
        engines=[
            EngineProcess(
                instance=instance,
                version=theirs[0].version,
                since=theirs[0].since,
                partitions=[view.partition for view in theirs],
            )
            for instance, theirs in sorted(owned.items())
        ],
        partitions=[_partition(number, view) for number, view in enumerate(views)],
    )


def _partition(number: int, view: EngineView | None) -> EnginePartition:
    return EnginePartition(
        partition=number,
        state="silent" if view is None else view.state.value,
        engine=None if view is None else view.instance,
        position=0 if view is None else view.position,
        waiting=0 if view is None else view.waiting,
        restored=0.0 if view is None else view.restored,
        restore_left=0 if view is None else view.restore_left,
        timers_soon=0 if view is None else view.timers_soon,
        timers_overdue=0 if view is None else view.timers_overdue,
        overdue_since=None if view is None else view.overdue_since,
    )
