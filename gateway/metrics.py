"""The gateway's metrics as Prometheus reads them (docs/reference/metrics.md): made when asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from backbeat.gateway.http.routing import Route
from backbeat.gateway.http.services import Services
from backbeat.observe.histograms import SECONDS, Buckets
from backbeat.observe.prometheus import counters, gauge, gauges, histograms, version


class HttpFigures:
    """Of the calls that were answered. Used from one event loop; read by copying."""

    def __init__(self) -> None:
        #: (route, method, status) -> how many
        self.requests: dict[tuple[str, str, str], int] = {}
        #: (route, method) -> how long they took
        self.seconds: dict[tuple[str, str], Buckets] = {}
        self.in_progress = 0

    def note(self, route: Route | None, status: int, seconds: float) -> None:
        """A call was answered; null: it had no route."""
        where = ("none", "none") if route is None else (route.path, route.method)
        key = (*where, str(status))
        self.requests[key] = self.requests.get(key, 0) + 1
        buckets = self.seconds.get(where)
        if buckets is None:
            buckets = self.seconds[where] = Buckets(SECONDS)
        buckets.observe(seconds)


class GatewayCollector(Collector):
    """Gives the metrics of a gateway. `collect` blocks: it asks the projection's database and Kafka."""

    def __init__(self, parts: Services, http: HttpFigures) -> None:
        self._parts = parts
        self._http = http

    def collect(self) -> Iterator[Metric]:
        """Everything, as of now."""
        yield gauges("backbeat_gateway_info", "Which gateway this is.", ("version",), [((version(),), 1)])
        yield from self._calls()
        yield from self._webhooks()
        yield from self._parts.projection.metrics.collect()

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
        reachable = self._parts.engine.missing is None
        yield gauge("backbeat_gateway_engine_reachable", "Whether Kafka is there.", int(reachable))

    def _webhooks(self) -> Iterator[Metric]:
        deliverer = self._parts.deliverer
        if deliverer is None:
            return
        figures, counts = deliverer.figures, deliverer.counts()
        yield counters(
            "backbeat_gateway_webhooks", "Webhooks settled.", ("kind", "outcome"), figures.settled.copy().items()
        )
        yield counters(
            "backbeat_gateway_webhook_tries",
            "Requests to endpoints.",
            ("kind", "outcome"),
            figures.tries.copy().items(),
        )
        yield histograms(
            "backbeat_gateway_webhook_seconds",
            "One request that was answered.",
            ("kind",),
            [((kind,), buckets) for kind, buckets in figures.seconds.copy().items()],
        )
        yield gauge("backbeat_gateway_webhooks_waiting", "Webhooks that wait.", counts.waiting)
        yield gauge(
            "backbeat_gateway_endpoints_unreachable", "Endpoints that cannot be connected to.", len(counts.unreachable)
        )
