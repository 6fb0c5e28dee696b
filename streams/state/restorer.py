"""Restorer of one process: in threads, with reused connections, and the progress of each restore."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable
from pathlib import Path

from backbeat.streams.ports.errors import FullDiskError
from backbeat.streams.ports.host_clock import HostClock
from backbeat.streams.ports.state import PartitionState
from backbeat.streams.state.disk_space import DiskSpace
from backbeat.streams.state.restore import Changelog, restore
from backbeat.streams.state.store import PartitionStore
from backbeat.streams.state.store_folder import StoreFolder

logger = logging.getLogger(__name__)


class GivenUpError(Exception):
    """The assignment of a restore is over: nobody would take the store."""


class RestoreProgress:
    """Progress of one restore. Written on its thread, read on others."""

    def __init__(self, is_over: Callable[[], bool]) -> None:
        self._is_over = is_over
        self.began_at = time.monotonic()
        self.first: int | None = None
        self.position = 0
        self.end = 0
        self.records = 0

    def note(self, position: int, end: int, records: int) -> None:
        """Note the offset in the changelog, its end, and the count of records since the last call. GivenUpError."""
        self.check()
        if self.first is None:
            self.first = position
        self.position = position
        self.end = end
        self.records += records

    def check(self) -> None:
        """Raise GivenUpError where the assignment is over."""
        if self._is_over():
            raise GivenUpError

    @property
    def remaining(self) -> int:
        """Count of offsets of the changelog that are still to be read."""
        return max(0, self.end - self.position)

    @property
    def ratio(self) -> float:
        """Share that is done, 0 to 1."""
        if self.first is None:
            return 0.0
        return (self.position - self.first) / (self.end - self.first) if self.end > self.first else 1.0


class Restorer:
    """Restores partitions' stores; `run` blocks and is called on threads."""

    def __init__(
        self,
        data_dir: Path,
        open_store: Callable[[int], PartitionStore],
        connect: Callable[[], Changelog],
        disk: DiskSpace,
        *,
        took: Callable[[float], None] = lambda _: None,
        host_clock: HostClock = time,
    ) -> None:
        """`took`: called with the duration of a restore, in seconds."""
        self._data_dir = data_dir
        self._open_store = open_store
        self._connect = connect
        self.disk = disk
        #: connections not in use
        self._idle: queue.SimpleQueue[Changelog] = queue.SimpleQueue()
        #: running restores, by partition
        self.under_way: dict[int, RestoreProgress] = {}
        self.records = 0
        #: count of damaged stores
        self.set_aside_count = 0
        self._took = took
        self._host_clock = host_clock

    def run(self, number: int, is_over: Callable[[], bool]) -> tuple[PartitionStore, int] | None:
        """The partition's store as of the end of its changelog, and the end of its commands; null: it is given up.

        `is_over`: true once the assignment is over. What was read until then is kept for the next restore.
        """
        progress = self.under_way[number] = RestoreProgress(is_over)
        try:
            result = self.disk.with_room(number, lambda: self._run(number, progress), is_over)
        except GivenUpError:
            result = None
        finally:
            del self.under_way[number]
        self.records += progress.records
        if result is None:
            return None
        self._took(time.monotonic() - progress.began_at)
        return result

    def _run(self, number: int, progress: RestoreProgress) -> tuple[PartitionStore, int]:
        progress.check()  # It may have waited for its turn.
        try:
            changelog = self._idle.get_nowait()
        except queue.Empty:
            changelog = self._connect()
        store: PartitionStore | None = None
        try:
            store = restore(
                lambda: self._open_store(number),
                self.folder(number).remove,
                lambda why: self.set_aside(number, why),
                changelog,
                progress.note,
                host_clock=self._host_clock,
            )
            end_of_commands = changelog.command_ends(number).end
        except FullDiskError:
            self._idle.put(changelog)  # The restore is repeated soon.
            raise
        except BaseException:
            if store is not None:
                store.close()
            changelog.close()
            raise
        self._idle.put(changelog)
        return store, end_of_commands

    def folder(self, number: int) -> StoreFolder:
        """The folder of a partition's store."""
        return StoreFolder(self._data_dir / f"partition-{number}")

    def put_aside(self, number: int, store: PartitionState, why: str) -> None:
        """Close a damaged store that was in use, and set it aside."""
        self.folder(number).unmark()  # Also after a crash it must not be opened again.
        store.close()
        self.set_aside(number, why)

    def set_aside(self, number: int, why: str) -> None:
        """Set a damaged, closed store aside: the next restore makes a new one."""
        aside = self.folder(number).set_aside()
        self.set_aside_count += 1
        logger.warning(
            "partition %d: %s. It is made anew from the changelog; the damaged one %s",
            number,
            why,
            "is gone" if aside is None else f"is kept in {aside}",
            extra={"partition": number},
        )

    def give_back(self) -> None:
        """Release the connections of the restores."""
        while not self._idle.empty():
            self._idle.get_nowait().close()
