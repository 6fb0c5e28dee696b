"""Backlog of commands: read and not applied yet. One bound for all partitions: above it nothing more is read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backbeat.streams.ports.log import Record

#: Half a second of work; the reader holds some thousand records more.
_RECORDS_MAX = 4_000
_BYTES_MAX = 32 * 1024 * 1024


@dataclass(slots=True)
class Waiting:
    """Records of one partition, in order, and the number of their read."""

    partition: int
    read_number: int
    records: deque[Record]
    bytes: int  #: of their values


class Backlog:
    """Commands by partition. All methods are called on the event loop."""

    def __init__(self, records_max: int = _RECORDS_MAX, bytes_max: int = _BYTES_MAX) -> None:
        self._records_max = records_max
        self._bytes_max = bytes_max
        #: by partition, the one that has waited longest first
        self._waiting: dict[int, Waiting] = {}
        self._filled, self._room = asyncio.Event(), asyncio.Event()
        self._look()

    def __len__(self) -> int:
        return sum(len(waiting.records) for waiting in self._waiting.values())

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, partition: int, read_number: int, records: Sequence[Record]) -> None:
        """Add records of one partition, behind those of the same read. Those of an earlier read are dropped."""
        waiting = self._waiting.get(partition)
        if not records or (waiting is not None and waiting.read_number > read_number):
            return
        if waiting is None or waiting.read_number < read_number:
            waiting = self._waiting[partition] = Waiting(partition, read_number, deque(), 0)
        waiting.records.extend(records)
        waiting.bytes += _bytes(records)
        self._look()

    def take(self) -> Waiting:
        """Remove and return the records of the partition that has waited longest."""
        waiting = self._waiting.pop(next(iter(self._waiting)))
        self._look()
        return waiting

    def put_back(self, waiting: Waiting) -> None:
        """Add what is left of a partition's records that were taken: the others get their turn first."""
        if waiting.records:
            waiting.bytes = _bytes(waiting.records)
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
        size = sum(waiting.bytes for waiting in self._waiting.values())
        has_room = len(self) < self._records_max and size < self._bytes_max
        for event, is_so in ((self._filled, bool(self)), (self._room, has_room)):
            if is_so is not event.is_set():
                event.set() if is_so else event.clear()


def _bytes(records: Iterable[Record]) -> int:
    return sum(len(record.value or b"") for record in records)
