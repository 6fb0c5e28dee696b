"""Metrics as the services themselves tell them, in Prometheus' text."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from prometheus_client.parser import text_string_to_metric_families

from backbeat.compose.drill.topology.direct import open_directly
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.watch.reading import NAMES, Reading, Values

_READ_SECONDS_MAX = 0.8
_THREADS = 16


class DirectSource:
    """Source that asks each service."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="scrape")

    def close(self) -> None:
        """Read no more."""
        self._pool.shutdown(cancel_futures=True)

    def read(self, services: Sequence[Service]) -> dict[str, Reading]:
        """The readings of those that answer in time."""
        measurable = [service for service in services if service.metrics_url]
        readings = zip(measurable, self._pool.map(_read, measurable), strict=True)
        return {service.name: reading for service, reading in readings if reading is not None}


def read_metrics(url: str) -> Values:
    """The values of an address, by name and labels. OSError: it does not answer in time."""
    with open_directly(url, timeout=_READ_SECONDS_MAX) as response:
        text = response.read().decode(errors="replace")
    return parse(text)


def parse(text: str) -> Values:
    """The values of a text."""
    lines = "\n".join(line for line in text.splitlines() if line.startswith(NAMES))
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(lines + "\n")
        for sample in family.samples
    }


def _read(service: Service) -> Reading | None:
    try:
        values = read_metrics(service.metrics_url)
    except (OSError, ValueError):
        return None
    return Reading(values, time.monotonic()) if values else None
