"""Metrics of the gateway for Prometheus (docs/reference/metrics.md), collected on request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from backbeat.gateway.admission import Admission
from backbeat.gateway.http.routing import Route
from backbeat.gateway.http.services import Services
from backbeat.observe.histograms import SECONDS, Buckets
from backbeat.observe.prometheus import counters, gauge, gauges, histograms, version


class HttpMetrics:
    """Counters and durations of HTTP calls. Used from one event loop; read by copying."""

    def __init__(self) -> None:
        #: (route, method, status) -> number of calls.
        self.requests: dict[tuple[str, str, str], int] = {}
        #: (route, method) -> durations.
        self.seconds: dict[tuple[str, str], Buckets] = {}
        self.in_progress = 0

    def note(self, route: Route | None, status: int, seconds: float) -> None:
        """Count an answered call; `route` None: it had no route."""
        self.note_at(("none", "none") if route is None else (route.path, route.method), status, seconds)

    def note_at(self, endpoint: tuple[str, str], status: int, seconds: float) -> None:
        """Count an answer of this route and method."""
        key = (*endpoint, str(status))
        self.requests[key] = self.requests.get(key, 0) + 1
        buckets = self.seconds.get(endpoint)
        if buckets is None:
            buckets = self.seconds[endpoint] = Buckets(SECONDS)
        buckets.observe(seconds)


class GatewayCollector(Collector):
    """Collector of a gateway's metrics. `collect` blocks: it reads the projection's database and Kafka."""

    def __init__(self, services: Services, http: HttpMetrics, admission: Admission) -> None:
        self._services = services
        self._http = http
        self._admission = admission

    def collect(self) -> Iterator[Metric]:
        """Collect all metrics as of now."""
        yield gauges("backbeat_gateway_info", "Which gateway this is.", ("version",), [((version(),), 1)])
        yield from self._calls()
        yield from self._clients()
        yield from self._webhooks()
        yield from self._services.projection.metrics.collect()

    def _calls(self) -> Iterator[Metric]:
        http = self._http
        yield counters(
            "backbeat_gateway_requests", "Calls answered.", ("route", "method", "status"), http.requests.copy().items()
        )
        yield histograms(
            "backbeat_gateway_request_seconds",
            "From a request's head to its answer.",
            ("route", "method"),
            http.seconds.copy().items(),
        )
        yield gauge("backbeat_gateway_requests_in_progress", "Calls being answered.", http.in_progress)
        reachable = self._services.engine.missing is None
        yield gauge("backbeat_gateway_engine_reachable", "Whether Kafka is there.", int(reachable))

    def _clients(self) -> Iterator[Metric]:
        """Calls by client: those that only wait for a node are among those at work."""
        at_work: Counter[str] = Counter()
        waiting: Counter[str] = Counter()
        refused: Counter[str] = Counter()
        for calls in tuple(self._admission.clients.values()):
            at_work[calls.name] += calls.at_work
            waiting[calls.name] += calls.waiting
            refused[calls.name] += calls.refused
        label = ("client",)
        yield gauges("backbeat_gateway_client_calls", "A client's calls at work.", label, _labelled(at_work))
        yield gauges("backbeat_gateway_client_calls_waiting", "Calls that wait their turn.", label, _labelled(waiting))
        yield counters("backbeat_gateway_client_calls_refused", "Calls refused with 429.", label, _labelled(refused))

    def _webhooks(self) -> Iterator[Metric]:
        deliverer = self._services.deliverer
        if deliverer is None:
            return
        webhooks, counts = deliverer.metrics, deliverer.counts()
        yield counters(
            "backbeat_gateway_webhooks", "Webhooks settled.", ("kind", "outcome"), webhooks.settled.copy().items()
        )
        yield counters(
            "backbeat_gateway_webhook_tries",
            "Requests to endpoints.",
            ("kind", "outcome"),
            webhooks.tries.copy().items(),
        )
        yield histograms(
            "backbeat_gateway_webhook_seconds",
            "One request that was answered.",
            ("kind",),
            [((kind,), buckets) for kind, buckets in webhooks.seconds.copy().items()],
        )
        yield gauge("backbeat_gateway_webhooks_waiting", "Webhooks that wait.", counts.waiting)
        yield gauge(
            "backbeat_gateway_endpoints_unreachable", "Endpoints that cannot be connected to.", len(counts.unreachable)
        )


def _labelled(counts: Counter[str]) -> list[tuple[tuple[str], float]]:
    return [((name,), count) for name, count in counts.items()]
