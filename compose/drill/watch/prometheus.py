"""Metrics of processes: read in Prometheus' text, and the few figures of them that a drill watches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from prometheus_client.parser import text_string_to_metric_families

from backbeat.compose.drill.load.account import quantile
from backbeat.compose.drill.topology.direct import open_directly
from backbeat.compose.drill.topology.service import Service

_READ_SECONDS_MAX = 0.8
_MEBIBYTE = 1024 * 1024
#: Metrics that are looked at; all others are skipped before they are parsed.
_WANTED = (
    "backbeat_engine_status_changes_total",
    "backbeat_engine_dead_letters_total",
    "backbeat_engine_lag_records",
    "backbeat_engine_command_age_seconds_bucket",
    "backbeat_gateway_requests_total",
    "process_resident_memory_bytes",
)

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read_metrics(url: str) -> Values:
    """The wanted values of an address, by name and labels. OSError: it does not answer in time."""
    with open_directly(url, timeout=_READ_SECONDS_MAX) as response:
        text = response.read().decode(errors="replace")
    return parse(text)


def parse(text: str) -> Values:
    """The wanted values of a text."""
    lines = "\n".join(line for line in text.splitlines() if line.startswith(_WANTED))
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(lines + "\n")
        for sample in family.samples
    }


class Scrape:
    """Reader of all services' metrics; rates are those since the reading before."""

    def __init__(self, services: Iterable[Service], read: Callable[[str], Values] = read_metrics) -> None:
        self._services = [service for service in services if service.metrics_url]
        self._read = read
        self._before: dict[str, Values] = {}
        self._pool = ThreadPoolExecutor(max(1, len(self._services)), thread_name_prefix="scrape")

    def close(self) -> None:
        """Read no more."""
        self._pool.shutdown(cancel_futures=True)

    def sample(self, seconds: float) -> dict[str, float]:
        """Figures of now; `seconds` have passed since the reading before."""
        values = dict(
            zip((each.name for each in self._services), self._pool.map(self._try, self._services), strict=True)
        )
        sample: dict[str, float] = defaultdict(float)
        buckets: dict[float, float] = defaultdict(float)
        for service in self._services:
            now = values[service.name]
            sample[f"{service.role}s_answering"] += bool(now)
            before = self._before.get(service.name, {})
            for (name, labels), value in now.items():
                # A counter that fell began anew with its process.
                grown = max(0.0, value - before[name, labels]) if (name, labels) in before else 0.0
                self._add(sample, buckets, service.role, (name, dict(labels), value, grown))
        for name in ("nodes_completed", "nodes_errored", "dead_letters", "gateway_errors"):
            sample[f"{name}_per_second"] = sample.pop(name, 0.0) / seconds if seconds else 0.0
        if buckets.get(float("inf")):
            sample["command_age_p99_seconds"] = _bucket_quantile(buckets, 0.99)
        self._before |= {name: now for name, now in values.items() if now}
        return dict(sample)

    def _try(self, service: Service) -> Values:
        try:
            return self._read(service.metrics_url)
        except (OSError, ValueError):
            return {}

    @staticmethod
    def _add(
        sample: dict[str, float],
        buckets: dict[float, float],
        role: str,
        reading: tuple[str, dict[str, str], float, float],
    ) -> None:
        name, labels, value, grown = reading
        match name:
            case "backbeat_engine_status_changes_total" if labels.get("machine") == "server":
                if labels.get("status") == "complete":
                    sample["nodes_completed"] += grown
                elif labels.get("status") in ("errored", "retries_exhausted"):
                    sample["nodes_errored"] += grown
            case "backbeat_engine_dead_letters_total":
                sample["dead_letters"] += grown
            case "backbeat_engine_lag_records":
                sample["lag_records"] += value
            case "backbeat_engine_command_age_seconds_bucket":
                buckets[float(labels["le"])] += grown
            case "backbeat_gateway_requests_total" if labels.get("status", "").startswith("5"):
                sample["gateway_errors"] += grown
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
