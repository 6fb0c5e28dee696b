"""The gateway's metrics as Prometheus reads them (docs/metrics.md): made when somebody asks, from what parts count."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from confluent_kafka import KafkaException
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from backbeat.gateway.figures import Activities
from backbeat.gateway.parts import Parts
from backbeat.gateway.projection import ProjectionError, lists, reports
from backbeat.gateway.routing import Route
from backbeat.streams.brokers import UnreachableError
from backbeat.streams.exposition import counter, counters, gauge, gauges, histograms, version
from backbeat.streams.figures import SECONDS, Buckets
from backbeat.streams.tallies import ACTIVITIES_MAX, OTHER
from backbeat.streams.topics import TopicError

#: How long figures of the projection's database are given out before they are read again.
_FRESH_SECONDS = 10.0


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


class _Stored(NamedTuple):
    """What is read from the projection's database."""

    pairs: dict[tuple[str, str], int]
    scheduled: int
    activities: Activities


class GatewayCollector(Collector):
    """Gives the metrics of a gateway. `collect` blocks: it asks the projection's database and Kafka."""

    def __init__(self, parts: Parts, http: HttpFigures) -> None:
        self._parts = parts
        self._http = http
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._stored: _Stored | None = None
        self._lag: dict[int, int] = {}

    def collect(self) -> Iterator[Metric]:
        """Everything, as of now."""
        yield gauges("backbeat_gateway_info", "Which gateway this is.", ("version",), [((version(),), 1)])
        yield from self._calls()
        yield from self._webhooks()
        yield from self._projection()

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

    def _projection(self) -> Iterator[Metric]:
        projection = self._parts.projection
        yield gauge("backbeat_projection_following", "Whether it follows the changelog.", int(not projection.trouble))
        yield gauge("backbeat_projection_whole", "Whether searches are answered.", int(projection.is_whole))
        yield counter("backbeat_projection_records", "Changelog records applied.", projection.records)
        self._refresh()
        yield gauges(
            "backbeat_projection_lag_records",
            "Changelog records behind.",
            ("partition",),
            [((str(number),), behind) for number, behind in sorted(self._lag.items())],
        )
        stored = self._stored
        if stored is None:
            return
        yield gauges(
            "backbeat_projection_nodes",
            "Nodes in this pair of statuses now.",
            ("server_status", "client_status"),
            stored.pairs.items(),
        )
        yield gauge("backbeat_projection_nodes_scheduled", "Nodes that wait for their time.", stored.scheduled)
        yield gauges(
            "backbeat_projection_activity_nodes",
            "Nodes at work, by name.",
            ("activity", "state"),
            _by_activity(stored.activities).items(),
        )

    def _refresh(self) -> None:
        """Read the database and the changelog's ends, unless that was done just now."""
        with self._lock:
            if time.monotonic() - self._read_at < _FRESH_SECONDS:
                return
            projection = self._parts.projection
            try:
                self._lag = projection.lag_by_partition()
                self._stored = projection.read(_read)
            except (ProjectionError, KafkaException, UnreachableError, TopicError):
                # Kafka or the database is away, or the projection is being built: old figures would look like new ones.
                self._lag, self._stored = {}, None
            self._read_at = time.monotonic()


def _read(connection: Connection) -> _Stored:
    pairs, scheduled = lists.status_pairs(connection)
    return _Stored(pairs, scheduled, reports.activities(connection, 0.0, closed=False))


def _by_activity(found: Activities) -> dict[tuple[str, str], int]:
    """(activity, state) -> nodes, of all clients; the names with the most nodes have labels of their own."""
    weights: Counter[str] = Counter()
    for each in found.activities:
        weights[each.activity] += sum(each.nodes.values())
    named = {name for name, _ in weights.most_common(ACTIVITIES_MAX)}
    counted: Counter[tuple[str, str]] = Counter()
    for each in found.activities:
        name = each.activity if each.activity in named else OTHER
        for state in ("waiting", "running", "retrying", "failing", "paused"):
            counted[name, state] += getattr(each, state)
    return dict(counted)
