"""Footprint of an installation over a long time: memory, handles, threads and disk, which must stay flat."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

import psutil

from backbeat.compose.drill.topology.service import Service

#: Brokers keep the log of commands for ever.
_ROLES = ("engine", "gateway", "worker")
_SAMPLE_SECONDS = 3.0
_PARTS = 5
#: How many times the median of the second fifth that of the last may be: allocators, caches and compaction breathe, and
#: an engine that takes partitions over has the threads of a restore for a moment.
GROWTH_MAX = 1.25
#: The same of a figure that is small: bytes; handles and threads.
SLACK_BYTES = 24 * 1024 * 1024
SLACK_COUNT = 12


class Footprint:
    """Samples of the processes that are seen from here, from `start()` to `stop()`."""

    def __init__(self, services: Iterable[Service]) -> None:
        self.series: dict[str, list[float]] = defaultdict(list)
        self._services = [service for service in services if service.role in _ROLES]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="footprint", daemon=True)

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def stop(self) -> None:
        """Sample no more."""
        self._stopping.set()
        self._thread.join()

    def take(self) -> None:
        """Note how it is now; what has just ended is left out."""
        for service in self._services:
            process = service.process()
            if process is not None:
                try:
                    with process.oneshot():
                        values = process.memory_info().rss, process.num_fds(), process.num_threads()
                except psutil.Error:
                    continue
                for name, value in zip(("bytes of memory", "handles", "threads"), values, strict=True):
                    self.series[f"{service.role} {name}"].append(value)
            if service.data_dir:
                self.series[f"{service.name} bytes of disk"].append(bytes_in(Path(service.data_dir)))

    def fifths(self) -> dict[str, list[float]]:
        """The median of each fifth of the time, of all that was seen often enough."""
        return fifths_of(self.series)

    def _run(self) -> None:
        while not self._stopping.wait(_SAMPLE_SECONDS):
            self.take()


def fifths_of(series: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """The median of each fifth of a series, of all that have samples enough."""
    parts = {}
    for name, values in sorted(series.items()):
        if fifth := len(values) // _PARTS:
            parts[name] = [float(median(values[at : at + fifth])) for at in range(0, fifth * _PARTS, fifth)]
    return parts


def grown(fifths: dict[str, list[float]]) -> list[str]:
    """Lines about what has more in the last fifth than it may."""
    return [
        f"{name} grew from {parts[1]:.4g} to {parts[-1]:.4g}"
        for name, parts in fifths.items()
        if parts[-1] > max(parts[1] * GROWTH_MAX, parts[1] + (SLACK_BYTES if "bytes" in name else SLACK_COUNT))
    ]


def bytes_in(folder: Path) -> int:
    """Bytes of all files below a folder."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # compacted away just now
    return total
