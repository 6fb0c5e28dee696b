"""An engine, as it tells of a partition that it has."""

from __future__ import annotations

import enum
from typing import ClassVar

import msgspec

from backbeat.schemas.marks import Long, Time


class PartitionState(enum.StrEnum):
    """State of a partition at the engine that has it."""

    RESTORING = "restoring"  #: its store is made from the state topic; nothing of it is answered
    CATCHING_UP = "catching_up"  #: it applies the commands that had come by then
    READY = "ready"


class EngineView(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="engine", kw_only=True):
    """The engine that has a partition, and how that stands."""

    REPLY: ClassVar[str] = "EngineReply"

    instance: str  #: its instance id
    version: str  #: of Backbeat
    since: Time  #: when the process was started, in milliseconds since the epoch
    partition: int  #: the partition that was asked
    state: PartitionState  #: of the partition
    position: Long = 0  #: offset of the next command that it applies; 0 while it is restored
    waiting: Long = 0  #: commands that it has read and not applied
    restored: float = 1.0  #: of a restore: the share that is done, 0 to 1
    restore_left: Long = 0  #: of a restore: offsets of the state topic that are still to be read
    timers_soon: Long = 0  #: timers that are due within a minute
    timers_overdue: Long = 0  #: timers that are due, and not applied yet
    #: of the first of these, in milliseconds since the epoch: when it was due; null: there is none
    overdue_since: Time | None = None
