"""Local stores of the assigned partitions: restored, written by commits, set aside and restored anew when damaged.

A damaged store concerns its partition alone. Its uncommitted changes are dropped, and the rest is in the log, as after
a new assignment.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import Executor

from confluent_kafka import KafkaException

from backbeat.schemas.kafka.broker_log import OUTAGES
from backbeat.schemas.kafka.brokers import UnreachableError, may_pass
from backbeat.streams.ports.errors import DamagedStoreError, RestoreError
from backbeat.streams.ports.host_clock import HostClock
from backbeat.streams.ports.state import ChangelogPosition, PartitionState, Snapshot
from backbeat.streams.state.disk_space import DiskSpace
from backbeat.streams.state.restorer import Restorer
from backbeat.streams.state.store import PartitionStore

logger = logging.getLogger(__name__)

#: Wait before a restore is repeated when brokers do not answer.
_AGAIN_SECONDS = 1.0
#: No assignment's epoch: they count from 0 on.
NO_EPOCH = -1


class LocalStores:
    """The local stores of a process. All methods but `write` are called on the event loop."""

    def __init__(self, restorer: Restorer, disk: DiskSpace, threads: Executor, host_clock: HostClock = time) -> None:
        self.restorer = restorer
        self.disk = disk
        #: of restores
        self.threads = threads
        self._monotonic = host_clock.monotonic
        #: errors of `write`
        self._damaged: list[DamagedStoreError] = []
        self._path_locks: dict[int, asyncio.Lock] = {}
        #: count of assignments; work for an earlier one is dropped
        self.epoch = 0
        #: true while the partitions are given back
        self.revoking = False
        #: held while a commit goes on
        self.commit_lock = asyncio.Lock()

    async def restore(
        self, number: int, epoch: int, damaged: tuple[PartitionState, str] | None = None
    ) -> tuple[PartitionStore, int] | None:
        """A partition's restored store, and the end of its commands; null: the epoch is over.

        `damaged`: its store until now, and the reason; it is set aside first, also where the epoch is over.
        """
        loop = asyncio.get_running_loop()
        async with self._path_locks.setdefault(number, asyncio.Lock()):
            if damaged is not None:
                async with self.commit_lock:  # A commit may be writing to it.
                    await loop.run_in_executor(self.threads, self.restorer.put_aside, number, *damaged)
            if epoch != self.epoch:
                return None
            began = self._monotonic()
            while True:
                try:
                    restored = await loop.run_in_executor(
                        self.threads, self.restorer.run, number, lambda: epoch != self.epoch
                    )
                except (RestoreError, KafkaException, UnreachableError, TimeoutError) as error:
                    if epoch != self.epoch:
                        return None  # The partition's next owner has changed the log under this restore.
                    if isinstance(error, RestoreError) or not may_pass(error):
                        raise
                    OUTAGES.tell(logger, f"partition {number} waits for its restore, {error}")
                    await asyncio.sleep(_AGAIN_SECONDS)
                else:
                    break
            if restored is None:
                return None
            store, end_of_commands = restored
            if epoch != self.epoch:
                store.close()
                return None
            logger.info(
                "partition %d restored in %.2f s, at offset %d",
                number,
                self._monotonic() - began,
                store.meta.next_offset,
                extra={"partition": number},
            )
            return store, end_of_commands

    def write(self, store: PartitionState, snapshot: Snapshot, origin: ChangelogPosition) -> None:
        """Step 3 of a commit for one partition: once there is room on the disk; a damaged store is noted. Blocks."""
        try:
            # While the partition is given back there is no wait: its next owner has the changelog.
            self.disk.with_room(snapshot.partition, lambda: store.write(snapshot, origin), lambda: self.revoking)
        except DamagedStoreError as error:
            self._damaged.append(error)

    def take_damaged(self) -> list[DamagedStoreError]:
        """Remove and return the damages that `write` has noted."""
        damaged, self._damaged = self._damaged, []
        return damaged
