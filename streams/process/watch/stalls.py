"""Stalls: a partition with commands waiting that does not move is read again; at a timeout the process ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor

from confluent_kafka import KafkaException

from backbeat.schemas.kafka.broker_log import OUTAGES
from backbeat.streams.engine.loop import Engine
from backbeat.streams.engine.partition import Partition
from backbeat.streams.ports.errors import EngineError
from backbeat.streams.ports.host_clock import HostClock
from backbeat.streams.process.termination import End
from backbeat.streams.state.disk_space import DiskSpace

logger = logging.getLogger(__name__)

_CHECK_SECONDS = 1.0
#: Time after which a stalled partition is read again from its position.
_READ_AGAIN_SECONDS = 4.0


class Stalls:
    """Watches the partitions of one engine, on its event loop."""

    def __init__(
        self,
        engine: Engine,
        disk: DiskSpace,
        threads: Executor,
        *,
        end_of_log: Callable[[int], int | None],
        first_data: Callable[[int, int], int],
        timeout_seconds: float,
        host_clock: HostClock,
        end: End,
    ) -> None:
        """`first_data`: see `log_tail`; `timeout_seconds`: of a stall, after which the process ends."""
        self._engine = engine
        self._disk = disk
        self._threads = threads
        self._end_of_log = end_of_log
        self._first_data = first_data
        self._timeout_seconds = timeout_seconds
        self._monotonic = host_clock.monotonic
        self._end = end

    async def watch(self) -> None:
        """Watch partitions with commands waiting that do not move.

        After some seconds they are read again from their position; at the timeout the process ends: Faust sometimes
        stops without an error.
        """
        timeout = self._timeout_seconds
        last_moves: dict[int, tuple[int, float]] = {}
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            now = self._monotonic()
            for number, partition in list(self._engine.partitions.items()):
                log_end = self._end_of_log(number)
                if partition.store is None or log_end is None or self._disk.is_full:
                    last_moves.pop(number, None)
                    continue
                position = partition.store.meta.next_offset
                last_position, since = last_moves.get(number, (None, now))
                target = max(log_end, partition.caught_up_at)
                if (
                    position != last_position
                    or position >= target
                    or await self._is_at_end(partition, position, target)
                ):
                    last_moves[number] = (position, now)
                elif now - since > timeout:
                    seconds = f"{now - since:.0f} s"
                    self._end(f"partition {number} stays at {position} for {seconds}; its log ends at {log_end}")
                elif now - since > _READ_AGAIN_SECONDS:
                    self._engine.read_again(number)

    async def _is_at_end(self, partition: Partition, position: int, log_end: int) -> bool:
        """True when only control records of transactions are left: the partition is not stalled."""
        loop = asyncio.get_running_loop()
        try:
            first = await loop.run_in_executor(self._threads, self._first_data, partition.number, position)
        except (KafkaException, EngineError) as error:
            # A broker that does not answer is waited for: ending would not help.
            OUTAGES.tell(logger, f"partition {partition.number}, {error}")
            return True
        if first < log_end:
            return False
        self._engine.caught_up(partition, position)
        return True
