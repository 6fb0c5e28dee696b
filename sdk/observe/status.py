"""A worker's status: `/metrics`, `/live` and `/ready` (docs/reference/metrics.md). Needs the extra `metrics`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from backbeat.delivery.base import ActivityConsumer
from backbeat.delivery.records import Delivery
from backbeat.errors import BackbeatError
from backbeat.observe.prometheus import counter, counters, gauge, gauges, histograms, new_registry, version
from backbeat.observe.status_server import Address, Status, StatusError, StatusServer
from backbeat.worker.concurrency_slots import ConcurrencySlots
from backbeat.worker.counters import Counters
from backbeat.worker.handlers import Handlers
from backbeat.worker.responses import describe

#: An event loop that has not come round for so long is blocked by a handler, and nothing else is begun or answered.
_LOOP_SECONDS_MAX = 60.0


class WorkerStatus(NamedTuple):
    """A worker as its status shows it. The functions are called from other threads."""

    client: str
    delivery: str
    counters: Counters
    handlers: Handlers
    slots: ConcurrencySlots[Delivery]
    consumer: ActivityConsumer
    #: time of the event loop's last round, on the monotonic clock; 0: it has not begun
    came_round_at: Callable[[], float]
    stopping: Callable[[], bool]
    #: what the worker ends with
    failure: Callable[[], BaseException | None]


def make_status(worker: WorkerStatus, host: str, port: int) -> StatusServer:
    """Server of a worker's status, from its `start()` to its `stop()`. BackbeatError: it cannot be served there."""
    registry = new_registry()
    registry.register(_WorkerCollector(worker))
    status = Status(registry, lambda: _why_not_live(worker), lambda: _why_not_ready(worker))
    try:
        return StatusServer(status, Address(host, port))
    except StatusError as error:
        raise BackbeatError(
            f"the status cannot be served on {host}:{port}: {error.__cause__}. What to do: another status_port, or 0 "
            "for a free one"
        ) from error


def _loop_delay(worker: WorkerStatus) -> float:
    came_round_at = worker.came_round_at()
    return time.monotonic() - came_round_at if came_round_at else 0.0


def _why_not_live(worker: WorkerStatus) -> list[str]:
    reasons = []
    failure = worker.failure()
    if failure is not None:
        reasons.append(f"the worker ends: {describe(failure)}")
    delay = _loop_delay(worker)
    if delay > _LOOP_SECONDS_MAX:
        reasons.append(f"the event loop has not come round for {delay:.0f} s: a handler blocks it")
    if worker.came_round_at() and not worker.stopping() and not worker.consumer.state().alive:
        reasons.append("what takes activities has ended")
    return reasons


def _why_not_ready(worker: WorkerStatus) -> list[str]:
    if worker.stopping():
        return ["it is stopping"]
    return [] if worker.consumer.state().rebalanced_at else ["it is not in its group yet"]


class _WorkerCollector(Collector):
    """Gives the metrics of a worker."""

    def __init__(self, worker: WorkerStatus) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        """Everything, as of now."""
        worker, counts = self._worker, self._worker.counters
        consumer, lag = worker.consumer.state(), worker.consumer.lag()
        yield gauges(
            "backbeat_worker_info",
            "Which worker this is.",
            ("version", "client", "delivery"),
            [((version(), worker.client, worker.delivery), 1)],
        )
        yield counters(
            "backbeat_worker_activities",
            "Activities whose handlers have ended.",
            ("activity", "outcome"),
            counts.ended.copy().items(),
        )
        yield histograms(
            "backbeat_worker_activity_seconds",
            "How long a handler took.",
            ("activity",),
            [((name,), buckets) for name, buckets in counts.seconds.copy().items()],
        )
        yield counter("backbeat_worker_notifications", "Error notifications told to hooks.", counts.notifications)
        running = [(handler.name, handler.activity_slots.running) for handler in worker.handlers.all()]
        yield gauges(
            "backbeat_worker_activities_running",
            "Activities that run.",
            ("activity",),
            [((name,), count) for name, count in running],
        )
        yield gauge("backbeat_worker_activities_waiting", "Activities that have not begun.", worker.slots.waiting)
        yield gauge("backbeat_worker_concurrency", "How many may run at once.", worker.slots.concurrency)
        yield gauge("backbeat_worker_activities_held", "Activities in the worker.", consumer.held)
        yield gauge(
            "backbeat_worker_answers_unacknowledged",
            "Answers that Kafka has not acknowledged.",
            consumer.unacknowledged,
        )
        yield counter("backbeat_worker_repeats", "Repeats that were not run.", consumer.repeats)
        yield counter("backbeat_worker_dead_letters", "Records that were no activities.", consumer.dead_letters)
        yield counter("backbeat_worker_put_back", "Records put back to the end of their topic.", consumer.requeued)
        yield gauge("backbeat_worker_partitions", "Partitions that it takes from.", len(lag))
        yield gauges(
            "backbeat_worker_lag_records",
            "Records that are not done.",
            ("partition",),
            [
                ((str(partition),), records_behind)
                for partition, records_behind in sorted(lag.items())
                if records_behind is not None
            ],
        )
        yield gauge(
            "backbeat_worker_last_rebalance_timestamp_seconds", "When partitions came or went.", consumer.rebalanced_at
        )
        yield gauge("backbeat_worker_loop_delay_seconds", "Since the event loop came round.", _loop_delay(worker))
