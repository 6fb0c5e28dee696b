"""Backlog of commands: read and not applied yet. One bound for all partitions: above it nothing more is read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from backbeat.streams.ports.log import Record

#: Half a second of work; the reader holds some thousand records more.
_RECORDS_MAX = 4_000


@dataclass(slots=True)
class Waiting:
    """Records of one partition, in order, and the number of their read."""

    partition: int
    read_number: int
    records: deque[Record]


class Backlog:
    """Commands by partition. All methods are called on the event loop."""

    def __init__(self, records_max: int = _RECORDS_MAX) -> None:
        self._records_max = records_max
        #: by partition, the one that has waited longest first
        self._waiting: dict[int, Waiting] = {}
        self._filled, self._room = asyncio.Event(), asyncio.Event()
        self._look()

    def __len__(self) -> int:
        return sum(len(waiting.records) for waiting in self._waiting.values())

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, partition: int, read_number: int, records: Sequence[Record]) -> None:
        """Add records of one partition, behind those of the same read; those of another one are dropped."""
        if not records:
            return
        waiting = self._waiting.get(partition)
        if waiting is not None and waiting.read_number == read_number:
            waiting.records.extend(records)
        else:
            self._waiting[partition] = Waiting(partition, read_number, deque(records))
        self._look()

    def take(self) -> Waiting:
        """Remove and return the records of the partition that has waited longest."""
        waiting = self._waiting.pop(next(iter(self._waiting)))
        self._look()
        return waiting

    def put_back(self, waiting: Waiting) -> None:
        """Add what is left of a partition's records that were taken: the others get their turn first."""
        if waiting.records:
            self._waiting[waiting.partition] = waiting
            self._look()

    def clear(self) -> None:
        """Drop all records."""
        self._waiting.clear()
        self._look()

    async def filled(self) -> None:
        """Wait until there are records."""
        await self._filled.wait()

    @property
    def has_room(self) -> bool:
        """True while more may be read."""
        return self._room.is_set()

    async def room(self) -> None:
        """Wait until more may be read."""
        await self._room.wait()

    def _look(self) -> None:
        for event, is_so in ((self._filled, bool(self)), (self._room, len(self) < self._records_max)):
            if is_so is not event.is_set():
                event.set() if is_so else event.clear()
