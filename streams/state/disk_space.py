"""Disk space of the data directory, and waits for it.

A full disk does not end the process: nothing is lost (the changelog has everything), and engines go on by themselves
when there is room. A write that finds the disk full is logged once and repeated. Commands are held back meanwhile:
their changes could not be committed, and would only fill the memory.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from backbeat.streams.ports.errors import FullDiskError
from backbeat.streams.state.store_folder import set_aside_in

logger = logging.getLogger(__name__)

_TRY_AGAIN_SECONDS = 1.0
_MEBIBYTE = 1024 * 1024
_R = TypeVar("_R")


class DiskSpace:
    """The disk that the data directory is on. Used from several threads."""

    def __init__(self, data_dir: Path, changed: Callable[[bool], object] = lambda _: None) -> None:
        """`changed`: called with true when the disk gets full, with false when it has room again."""
        self._data_dir = data_dir
        self._changed = changed
        self._lock = threading.Lock()
        #: partitions that wait for room
        self._waiting: set[int] = set()

    @property
    def is_full(self) -> bool:
        """True while a partition waits for room."""
        return bool(self._waiting)

    def free_bytes(self) -> int:
        """Free bytes for the engine; 0 where the directory is gone."""
        try:
            return shutil.disk_usage(self._data_dir).free
        except OSError:
            return 0

    def with_room(
        self, partition: int, work: Callable[[], _R], is_over: Callable[[], bool] = lambda: False
    ) -> _R | None:
        """The result of `work`, repeated while the disk is full; null: `is_over` was true before."""
        try:
            while True:
                try:
                    return work()
                except FullDiskError as error:
                    self._wait(partition, error)
                if is_over():
                    return None
                time.sleep(_TRY_AGAIN_SECONDS)
        finally:
            self._wait_no_more(partition)

    def _wait(self, partition: int, error: FullDiskError) -> None:
        with self._lock:
            waits, first = partition in self._waiting, not self._waiting
            self._waiting.add(partition)
        if waits:
            return
        for aside in set_aside_in(self._data_dir):
            shutil.rmtree(aside, ignore_errors=True)  # Another thread may be removing it, too.
            logger.warning("the disk is full: %s, which was set aside, is removed", aside)
        if first:
            self._changed(True)
            logger.error(
                "the disk of %s is full (%.1f MiB free): %s. Nothing is lost; the engine waits, and goes on by itself "
                "when there is room. What to do: make room, or move the data directory to a larger disk",
                self._data_dir,
                self.free_bytes() / _MEBIBYTE,
                error,
            )

    def _wait_no_more(self, partition: int) -> None:
        with self._lock:
            if partition not in self._waiting:
                return
            self._waiting.discard(partition)
            last = not self._waiting
        if last:
            self._changed(False)
            logger.warning(
                "the disk of %s has room again (%.1f MiB free): the engine goes on",
                self._data_dir,
                self.free_bytes() / _MEBIBYTE,
            )
