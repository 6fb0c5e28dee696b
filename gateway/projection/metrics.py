"""A projection's metrics (docs/reference/metrics.md): in every gateway, and in a process of its own."""

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

from backbeat.gateway.api.report_json import Activities
from backbeat.gateway.projection.following.changelog import Lag
from backbeat.gateway.projection.following.follower import Follower
from backbeat.gateway.projection.reading import lists, reports
from backbeat.gateway.projection.reading.reader import Reading
from backbeat.gateway.projection.storage.database import ProjectionError
from backbeat.observe.histograms import OTHER
from backbeat.observe.prometheus import counter, gauge, gauges, histograms
from backbeat.schemas.kafka.brokers import UnreachableError
from backbeat.schemas.kafka.topics import TopicError
from backbeat.streams.observe.counters import ACTIVITIES_MAX

#: How long figures of the database and of Kafka are given out before they are read again.
_FRESH_SECONDS = 10.0


class _Stored(NamedTuple):
    """What is read from the database."""

    pairs: dict[tuple[str, str], int]
    scheduled: int
    activities: Activities


class ProjectionCollector(Collector):
    """Gives the metrics of a projection. `collect` blocks: it asks the database and Kafka."""

    def __init__(self, follower: Follower, reading: Reading, lag: Lag) -> None:
        self._follower = follower
        self._reading = reading
        self._lag = lag
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._stored: _Stored | None = None
        self._behind: dict[int, int] = {}

    def collect(self) -> Iterator[Metric]:
        """Everything, as of now; what costs a question, as of some seconds ago."""
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
        """Read the database and the changelog's ends, unless that was done just now."""
        with self._lock:
            if time.monotonic() - self._read_at < _FRESH_SECONDS:
                return
            # Kafka or the database is away, or the projection is being built: old figures would look like new ones.
            self._behind, self._stored = {}, None
            with suppress(KafkaException, UnreachableError, TopicError):
                self._behind = self._lag.behind(self._follower.progress.positions())
            with suppress(ProjectionError):
                self._stored = self._reading.read(_read)
            self._read_at = time.monotonic()


def _by_partition(name: str, text: str, values: dict[int, int]) -> Metric:
    return gauges(name, text, ("partition",), [((str(number),), value) for number, value in sorted(values.items())])


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
