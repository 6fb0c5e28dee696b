"""Readings: the metrics of a service that the watch looks at, and when they were taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from backbeat.compose.drill.topology.service import Service

#: Metrics that are looked at; all others are skipped before they are parsed.
NAMES = (
    "backbeat_engine_status_changes_total",
    "backbeat_engine_dead_letters_total",
    "backbeat_engine_lag_records",
    "backbeat_engine_command_age_seconds_bucket",
    "backbeat_gateway_requests_total",
    "backbeat_worker_activities_running",
    "process_resident_memory_bytes",
)

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Reading(NamedTuple):
    """Values by name and labels."""

    values: Values
    #: seconds, on a clock of the source's own
    at: float


class Source(Protocol):
    """Source of readings."""

    def read(self, services: Sequence[Service]) -> dict[str, Reading]:
        """The newest readings, by the names of services; those that do not answer are not there."""
        ...

    def close(self) -> None:
        """Read no more."""
        ...
