"""Scrape: the few figures that a drill watches, of the metrics of all services."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from backbeat.compose.drill.load.account import quantile
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.watch.reading import Reading, Source, Values

_MEBIBYTE = 1024 * 1024
#: A server that was late scrapes twice within a moment: what has grown since would be a rate out of all bounds.
RATE_SECONDS_MIN = 0.25
_RATES = ("nodes_completed", "nodes_errored", "dead_letters", "gateway_errors")


class Scrape:
    """Reader of all services' metrics; rates are those since the reading before."""

    def __init__(self, services: Iterable[Service], source: Source) -> None:
        self._services = [service for service in services if service.metrics_url]
        self._source = source
        self._last: dict[str, Reading] = {}
        #: how much each counter has grown a second, until the last reading
        self._rates: dict[str, Values] = {}

    def close(self) -> None:
        """Read no more."""
        self._source.close()

    def sample(self) -> dict[str, float]:
        """Figures of now."""
        readings = self._source.read(self._services)
        sample: dict[str, float] = defaultdict(float)
        buckets: dict[float, float] = defaultdict(float)
        for service in self._services:
            reading = readings.get(service.name)
            sample[f"{service.role}s_answering"] += reading is not None
            if reading is None:
                continue
            self._note(service.name, reading)
            rates = self._rates[service.name]
            for (name, labels), value in reading.values.items():
                rate = rates.get((name, labels), 0.0)
                self._add(sample, buckets, service.role, (name, dict(labels), value, rate))
        for name in _RATES:
            sample[f"{name}_per_second"] = sample.pop(name, 0.0)
        if buckets.get(float("inf")):
            sample["command_age_p99_seconds"] = _bucket_quantile(buckets, 0.99)
        return dict(sample)

    def _note(self, service: str, reading: Reading) -> None:
        """Compute a service's rates where its reading is newer: a server's stays the same for seconds."""
        last = self._last.get(service)
        if last is None:
            self._rates[service] = {}
        elif reading.at - last.at >= RATE_SECONDS_MIN:
            # A counter that fell began anew with its process.
            self._rates[service] = {
                key: max(0.0, value - last.values[key]) / (reading.at - last.at)
                for key, value in reading.values.items()
                if key in last.values
            }
        else:
            return
        self._last[service] = reading

    @staticmethod
    def _add(
        sample: dict[str, float],
        buckets: dict[float, float],
        role: str,
        reading: tuple[str, dict[str, str], float, float],
    ) -> None:
        name, labels, value, rate = reading
        match name:
            case "backbeat_engine_status_changes_total" if labels.get("machine") == "server":
                if labels.get("status") == "complete":
                    sample["nodes_completed"] += rate
                elif labels.get("status") in ("errored", "retries_exhausted"):
                    sample["nodes_errored"] += rate
            case "backbeat_engine_dead_letters_total":
                sample["dead_letters"] += rate
            case "backbeat_engine_lag_records":
                sample["lag_records"] += value
            case "backbeat_engine_command_age_seconds_bucket":
                buckets[float(labels["le"])] += rate
            case "backbeat_gateway_requests_total" if labels.get("status", "").startswith("5"):
                sample["gateway_errors"] += rate
            case "process_resident_memory_bytes":
                key = f"{role}_memory_mebibytes"
                sample[key] = max(sample.get(key, 0.0), value / _MEBIBYTE)
            case _:
                pass


def _bucket_quantile(buckets: dict[float, float], share: float) -> float:
    """The upper bound of the bucket in which a share of the values lies; of the last one, its lower bound."""
    total = buckets[float("inf")]
    bounds = sorted(bound for bound in buckets if bound != float("inf"))
    fitting = [bound for bound in bounds if buckets[bound] >= total * share]
    return fitting[0] if fitting else quantile(bounds, 1.0)
