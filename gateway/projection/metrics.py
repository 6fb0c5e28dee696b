"""Metrics of a projection (docs/reference/metrics.md), in a gateway or a process of its own."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from confluent_kafka import KafkaException
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from backbeat.gateway.api.shapes.reports import Activities
from backbeat.gateway.projection.following.changelog import Lag
from backbeat.gateway.projection.following.follower import Follower
from backbeat.gateway.projection.reading import lists, reports
from backbeat.gateway.projection.reading.reader import TableReader
from backbeat.gateway.projection.storage.database import ProjectionError
from backbeat.observe.histograms import OTHER
from backbeat.observe.prometheus import counter, gauge, gauges, histograms
from backbeat.schemas.kafka.brokers import UnreachableError
from backbeat.schemas.kafka.topics import TopicError
from backbeat.streams.observe.counters import ACTIVITIES_MAX

#: Time for which figures of the database and of Kafka are reused.
_FRESH_SECONDS = 10.0


class _Stored(NamedTuple):
    """Figures read from the database."""

    pairs: dict[tuple[str, str], int]
    scheduled: int
    activities: Activities


class ProjectionCollector(Collector):
    """Collector of a projection's metrics. `collect` blocks: it reads the database and Kafka."""

    def __init__(self, follower: Follower, reader: TableReader, lag: Lag) -> None:
        self._follower = follower
        self._reader = reader
        self._lag = lag
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._stored: _Stored | None = None
        self._behind: dict[int, int] = {}

    def collect(self) -> Iterator[Metric]:
        """Collect all metrics; those that need requests are some seconds old."""
        follower, progress = self._follower, self._follower.progress
        yield gauge("backbeat_projection_following", "Whether it is kept up to date.", int(not progress.trouble))
        yield gauge("backbeat_projection_writing", "Whether it is this process that does so.", int(follower.follows))
        yield gauge("backbeat_projection_whole", "Whether searches are answered.", int(progress.whole))
        yield counter("backbeat_projection_records", "Changelog records applied.", progress.records)
        yield histograms(
            "backbeat_projection_batch_seconds", "One batch into the tables.", (), [((), follower.batch_seconds)]
        )
        yield _by_partition(
            "backbeat_projection_position_offset", "The next changelog record's offset.", progress.positions()
        )
        self._refresh()
        yield _by_partition("backbeat_projection_lag_records", "Changelog records behind.", self._behind)
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
        """Read the database and the changelog's ends, unless they are fresh."""
        with self._lock:
            if time.monotonic() - self._read_at < _FRESH_SECONDS:
                return
            # Kafka or the database is unreachable, or the projection is being built: old figures would look like new
            # ones.
            self._behind, self._stored = {}, None
            with suppress(KafkaException, UnreachableError, TopicError):
                self._behind = self._lag.behind(self._follower.progress.positions())
            with suppress(ProjectionError):
                self._stored = self._reader.read(_read)
            self._read_at = time.monotonic()


def _by_partition(name: str, text: str, values: dict[int, int]) -> Metric:
    return gauges(
        name, text, ("partition",), [((str(partition),), value) for partition, value in sorted(values.items())]
    )


def _read(connection: Connection) -> _Stored:
    pairs, scheduled = lists.status_pairs(connection)
    return _Stored(pairs, scheduled, reports.activities(connection, 0.0, closed=False))


def _by_activity(report: Activities) -> dict[tuple[str, str], int]:
    """(activity, state) -> nodes, of all clients; the names with the most nodes have labels of their own."""
    weights: Counter[str] = Counter()
    for activity in report.activities:
        weights[activity.activity] += sum(activity.nodes.values())
    labels = {name for name, _ in weights.most_common(ACTIVITIES_MAX)}
    nodes: Counter[tuple[str, str]] = Counter()
    for activity in report.activities:
        name = activity.activity if activity.activity in labels else OTHER
        for state in ("waiting", "running", "retrying", "failing", "paused"):
            nodes[name, state] += getattr(activity, state)
    return dict(nodes)
