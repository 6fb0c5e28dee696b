"""What the engine does not take from the log: a command for another partition, or one that only engines may send."""

from __future__ import annotations

from backbeat import schemas
from backbeat.streams.core import ids
from backbeat.streams.core.commands import (
    AnyCommand,
    AskSlot,
    CloseLink,
    Continue,
    FailNode,
    FillPool,
    GrantSlot,
    ReleaseSlot,
    SpreadLimit,
    WorkJob,
    route,
)

_SENT_BY_ENGINES = (Continue, CloseLink, SpreadLimit, AskSlot, GrantSlot, ReleaseSlot, FillPool, WorkJob)


def admit(command: AnyCommand, partition: int, partitions_count: int) -> None:
    """Raises DecodeError for a command that nobody may have put there."""
    identity = route(command)
    if identity is not None and ids.partition_of(identity, partitions_count) != partition:
        wanted = ids.partition_of(identity, partitions_count)
        raise schemas.DecodeError(f"a command for partition {wanted} was sent to partition {partition}")
    if isinstance(command, _SENT_BY_ENGINES) and command.source is None:
        raise schemas.DecodeError(f"{type(command).__name__} without a source: only engines send it")
    if isinstance(command, FailNode):
        raise schemas.DecodeError("FailNode is never sent: an engine applies it where it fails")
