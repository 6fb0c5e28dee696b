"""The reader of commands and queries over a broker in memory; its conformance to the real one: `tests/conformance`."""

from __future__ import annotations

import random
from collections.abc import Iterable

from backbeat.schemas.kafka.topics import COMMANDS, QUERIES
from backbeat.streams.input.reader import Batch, Read
from backbeat.streams.ports.log import Record

from .broker import Broker
from .faults import Faults

Where = tuple[str, int]


class SimReader:
    """Reads a few records of one partition at a time."""

    def __init__(self, broker: Broker, chance: random.Random, faults: Faults) -> None:
        self._broker = broker
        self._chance = chance
        self._faults = faults
        self.paused: set[int] = set()
        self._positions: dict[Where, int] = {}
        #: of the commands: which read a partition's records are of
        self._read_numbers: dict[int, int] = {}
        #: records of an earlier read that come late, and their partition
        self._late: tuple[int, Read] | None = None

    def forget(self) -> None:
        self._keep_late()
        self._positions = {}

    def read_queries(self, numbers: Iterable[int]) -> None:
        # Where the group's offsets have it begin, or at times before that.
        for number in numbers:
            position = self._broker.group_offsets.get((QUERIES, number), 0)
            self._positions[QUERIES, number] = self._back(position)

    def read_commands(self, number: int, offset: int, read_number: int) -> None:
        self._positions[COMMANDS, number] = self._back(offset)
        self._read_numbers[number] = read_number

    def pause(self, number: int) -> None:
        self.paused.add(number)

    def resume(self, number: int) -> None:
        self.paused.discard(number)

    def end_of_commands(self, number: int) -> int:
        return self._broker.log(COMMANDS, number).end

    def take(self) -> Batch:
        """The next records, of one partition; empty: there are none."""
        # Before the records of the read that follows, or behind some of them.
        if self._late is not None and self._late[0] in self._read_numbers and self._chance.random() < 0.5:
            number, read = self._late
            if self._read_numbers[number] != read.number:
                self._late = None
                return {(COMMANDS, number): read}
        waiting = [
            where
            for where, position in self._positions.items()
            if self._broker.log(*where).end > position and not (where[0] == COMMANDS and where[1] in self.paused)
        ]
        if not waiting:
            return {}
        where = self._chance.choice(waiting)
        return {where: Read(self._read_numbers[where[1]] if where[0] == COMMANDS else 0, self._fetch(where))}

    def _back(self, position: int) -> int:
        return self._chance.randrange(position + 1) if self._faults.happens("seek back") else position

    def _keep_late(self) -> None:
        """Keep records of a partition until after a rebalance or a seek: a read that was under way gives them then."""
        reading = [number for topic, number in self._positions if topic == COMMANDS]
        if self._late is None and reading and self._faults.happens("late batch"):
            number = self._chance.choice(reading)
            # Further on than what the engine has: the reader is ahead of it.
            for _ in range(self._chance.choice((0, 1))):
                self._fetch((COMMANDS, number))
            self._late = (number, Read(self._read_numbers[number], self._fetch((COMMANDS, number))))

    def _fetch(self, where: Where) -> list[Record]:
        log, begin = self._broker.log(*where), self._positions[where]
        end = min(log.end, begin + self._chance.choice((1, 7, 80)))
        self._positions[where] = end
        return [
            Record(log.number, entry.offset, entry.timestamp, entry.key, entry.value, entry.headers)
            for entry in log.entries[begin:end]
            if entry is not None and not entry.control
        ]


def first_data(broker: Broker, number: int, begin: int) -> int:
    """The first data record of a partition's commands from an offset on, or the log's end."""
    log = broker.log(COMMANDS, number)
    return next((entry.offset for entry in log.entries[begin:] if entry is not None and not entry.control), log.end)
