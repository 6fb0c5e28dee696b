"""Stalls: a partition with commands waiting that does not move is read again; at a timeout the process ends.

Only time counts in which it could have moved: the process runs, nothing holds its commands back, and no other
partition's commands, fetched before, have to be taken first. A machine that is short of processor time is slow, and
has not stalled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from confluent_kafka import KafkaException

from backbeat.schemas.kafka.broker_log import OUTAGES
from backbeat.streams.engine.loop import Engine
from backbeat.streams.engine.partition import Partition
from backbeat.streams.ports.errors import EngineError
from backbeat.streams.ports.host_clock import HostClock
from backbeat.streams.process.termination import End

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
#: Time between two looks counts as this at most: the process did not run.
_LOOK_SECONDS_MAX = 2.0
#: Time after which a stalled partition is read again from its position; then after twice as long each time: a new read
#: throws away what a slow broker is about to send.
_READ_AGAIN_SECONDS = 4.0
#: Commands of other partitions that may lie before those of a new read: what the reader and the backlog hold.
_AHEAD_RECORDS_MAX = 50_000


@dataclass(slots=True)
class _Stand:
    """A partition that stands at a position."""

    partition: Partition
    position: int
    taken: int  #: commands that the engine had taken when the newest read began
    seconds: float = 0.0
    read_again_seconds: float = _READ_AGAIN_SECONDS  #: of `seconds`, when it is read again
    #: offset up to which only control records lie behind the position; -1: unknown
    idle_end: int = -1
    has_commands: bool = False  #: commands were seen behind the position

    def begin_anew(self, taken: int) -> None:
        """Forget the time for which it has stood."""
        self.taken, self.seconds, self.read_again_seconds = taken, 0.0, _READ_AGAIN_SECONDS


class Stalls:
    """Watches the partitions of one engine, on its event loop."""

    def __init__(
        self,
        engine: Engine,
        threads: Executor,
        *,
        end_of_log: Callable[[int], int | None],
        first_data: Callable[[int, int], int],
        is_held_back: Callable[[], bool],
        timeout_seconds: float,
        host_clock: HostClock,
        end: End,
    ) -> None:
        """`first_data`: see `log_tail`; `timeout_seconds`: of a stall, after which the process ends.

        `is_held_back`: true while commands wait on purpose, for a disk or for brokers.
        """
        self._engine = engine
        self._threads = threads
        self._end_of_log = end_of_log
        self._first_data = first_data
        self._is_held_back = is_held_back
        self._timeout_seconds = timeout_seconds
        self._monotonic = host_clock.monotonic
        self._end = end
        self._stands: dict[int, _Stand] = {}
        self._taken = 0  #: commands that the engine had taken at the last look

    async def watch(self) -> None:
        """Watch partitions with commands waiting that do not move.

        After some seconds they are read again from their position; at the timeout the process ends: Faust sometimes
        stops without an error.
        """
        looked_at = self._monotonic()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = self._monotonic()
            await self.look(min(now - looked_at, _LOOK_SECONDS_MAX))
            looked_at = now

    async def look(self, seconds: float) -> None:
        """Look at all partitions, `seconds` after the last look."""
        counts = self._engine.counts
        taken = counts["commands"] + counts["repeats"]
        is_idle, self._taken = taken == self._taken, taken
        stands, self._stands = self._stands, {}
        for number, partition in list(self._engine.partitions.items()):
            log_end = self._end_of_log(number)
            if partition.store is None or log_end is None:
                continue
            position = partition.store.meta.next_offset
            stand, end = stands.get(number), max(log_end, partition.caught_up_at)
            if stand is None or stand.partition is not partition or stand.position != position or position >= end:
                stand = _Stand(partition, position, taken)
            elif self._is_held_back() and (stand.has_commands or not partition.waiting_queries):
                pass  # Commands wait on purpose. Where nothing but queries waits, they may be answered.
            elif await self._is_at_end(stand, end):
                stand.begin_anew(taken)
            elif not self._is_held_back() and (is_idle or taken - stand.taken > _AHEAD_RECORDS_MAX):
                stand.seconds += seconds
                self._act(stand, log_end)
            self._stands[number] = stand

    def _act(self, stand: _Stand, log_end: int) -> None:
        """Read a partition again that has stood for long enough, or end the process."""
        number = stand.partition.number
        if self._engine.partitions.get(number) is not stand.partition or stand.partition.store is None:
            return  # Revoked during the look, or lost its store.
        if stand.seconds > self._timeout_seconds:
            stood = f"{stand.seconds:.0f} s"
            self._end(f"partition {number} stays at {stand.position} for {stood}; its log ends at {log_end}")
        elif stand.seconds >= stand.read_again_seconds:
            stand.read_again_seconds *= 2
            stand.taken = self._taken
            self._engine.read_again(number)

    async def _is_at_end(self, stand: _Stand, log_end: int) -> bool:
        """True when at most control records of transactions are left: the partition is not stalled."""
        partition, position = stand.partition, stand.position
        if log_end <= stand.idle_end and partition.caught_up:
            return True  # Each look at the log takes a consumer of its own.
        loop = asyncio.get_running_loop()
        try:
            first = await loop.run_in_executor(self._threads, self._first_data, partition.number, position)
        except (KafkaException, EngineError) as error:
            # A broker that does not answer is waited for: ending would not help.
            OUTAGES.tell(logger, f"partition {partition.number}, {error}")
            return True
        stand.has_commands = first < log_end
        if stand.has_commands:
            return False
        stand.idle_end = first
        self._engine.caught_up(partition, position)
        return True
