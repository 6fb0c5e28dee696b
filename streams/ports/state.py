# ruff: noqa: D102 - each method is documented where it does something: `state.store`, `timers`
"""Port of a partition's state: RocksDB (`state.store`), or memory (`backbeat.testing`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from backbeat.schemas.messages.commands import TimerFired
from backbeat.streams.core.store import Store


class ChangelogPosition(msgspec.Struct, array_like=True):
    """The changelog, and the offset in it, up to which the local store has its records."""

    state_topic_id: str
    next_offset: int  #: of the changelog
    written_at: int  #: host's time, milliseconds since the epoch
    timers_from: int = 0  #: no stored timer is due before this
    version: int = 1


class Snapshot(msgspec.Struct):
    """A partition's part of a commit."""

    partition: int
    position: int  #: of the commands topic: all commands before it are applied
    records: list[tuple[bytes, bytes | None]]  #: for the changelog and RocksDB; null is a tombstone
    timers: list[tuple[bytes, bytes | None]]  #: for RocksDB only
    timers_from: int
    query_position: int = -1  #: of the queries topic: queries before it need not be read again; -1: none was read


class DueTimers(Protocol):
    """The due timers of a partition."""

    def any_due(self, now: int) -> bool: ...

    def due(self, now: int) -> Iterator[TimerFired]: ...


class PartitionState(Store, Protocol):
    """A partition's records, from commit to commit."""

    origin: ChangelogPosition | None

    @property
    def timers(self) -> DueTimers: ...

    @property
    def changed_count(self) -> int: ...

    def is_dirty(self) -> bool: ...

    def snapshot(self) -> Snapshot: ...

    def write(self, snapshot: Snapshot, origin: ChangelogPosition) -> None: ...

    def mark_durable(self) -> None: ...

    def close(self) -> None: ...
