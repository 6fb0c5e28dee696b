"""The engine's metrics for Prometheus (docs/reference/metrics.md), collected on request.

State of the event loop is read on it. A loop that hangs does not answer: then the last reading is exported, and
`loop_delay_seconds` shows it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from backbeat.observe.prometheus import counter, counters, gauge, gauges, histograms, version
from backbeat.schemas.kafka.topics import SIGNALS_PREFIX
from backbeat.schemas.messages.status import ClientStatus, ServerStatus, word
from backbeat.streams.core.effects import Notify
from backbeat.streams.input.ingest import Ingest
from backbeat.streams.observe.counters import label_of
from backbeat.streams.process.lifecycle import EngineProcess
from backbeat.streams.state.store import PartitionStore

_T = TypeVar("_T")
_LOOP_SECONDS_MAX = 1.0
_PRODUCED_TOPICS = ("activities", "commands", "replies", "history", "state", "dead-letters")


@dataclass
class _PartitionReading:
    """Reading of a restored partition."""

    position: int
    committed: int
    lag: int
    pending: int
    records: int
    size: int
    cached: int
    armed: int
    overdue: int
    overdue_seconds: float


@dataclass
class _LoopReading:
    """Reading of state that belongs to the event loop."""

    restoring: int = 0
    changed: int = 0
    waiting: int = 0
    backlog: int = 0
    partitions: dict[int, _PartitionReading] = field(default_factory=dict)


class EngineCollector(Collector):
    """Collector of the metrics of an engine and its ingest."""

    def __init__(
        self,
        process: EngineProcess,
        ingest: Ingest,
        *,
        end_of_log: Callable[[int], int | None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._process = process
        self._ingest = ingest
        self._end_of_log = end_of_log
        self._loop = loop
        self._last = _LoopReading()

    def collect(self) -> Iterator[Metric]:
        """Collect all metrics as of now."""
        self._last = on_loop(self._loop, self._read) or self._last
        yield from self._work()
        yield from self._nodes()
        yield from self._commits()
        yield from self._partitions()
        yield from self._life()
        yield counters(
            "backbeat_ingest_records",
            "Records of signals topics.",
            ("outcome",),
            [(("forwarded",), self._ingest.forwarded), (("refused",), self._ingest.refused)],
        )
        yield gauge(
            "backbeat_ingest_partitions", "Partitions of signals topics that it has.", len(self._ingest.assigned)
        )
        yield gauges(
            "backbeat_ingest_held_records",
            "Signals that wait behind others of their client.",
            ("client",),
            [((name.removeprefix(SIGNALS_PREFIX),), count) for name, count in self._ingest.held.counts().items()],
        )
        yield counters(
            "backbeat_ingest_pauses",
            "Pauses of a client's signals.",
            ("client",),
            [((name.removeprefix(SIGNALS_PREFIX),), count) for name, count in self._ingest.held.pauses.copy().items()],
        )
        yield gauge("backbeat_ingest_stands_seconds", "At work on the same signals since.", self._ingest.stands_seconds)

    # --- read on the loop ------------------------------------------------------------------------------------------

    def _read(self) -> _LoopReading:
        process = self._process
        engine, now = process.engine, process.clock.now()
        waiting = sum(len(partition.waiting_queries) for partition in engine.partitions.values())
        reading = _LoopReading(changed=engine.changed_count, waiting=waiting, backlog=len(process.backlog))
        for partition_number, partition in engine.partitions.items():
            store = partition.store
            if not isinstance(store, PartitionStore):
                reading.restoring += 1
                continue
            position = store.meta.next_offset
            records, size = store.stored_estimate()
            overdue, oldest = store.timers.overdue(now)
            reading.partitions[partition_number] = _PartitionReading(
                position=position,
                committed=process.committer.committed.get(partition_number, position),
                lag=max(0, (self._end_of_log(partition_number) or position) - position),
                pending=len(partition.pending),
                records=records,
                size=size,
                cached=store.cached_count,
                armed=store.timers.waiting_soon,
                overdue=overdue,
                overdue_seconds=0.0 if oldest is None else max(0, now - oldest) / 1000,
            )
        return reading

    # --- given out -------------------------------------------------------------------------------------------------

    def _work(self) -> Iterator[Metric]:
        totals, work = self._process.engine.counters, self._process.work
        counts = totals.counts.copy()
        commands = [((label_of(kind),), count) for kind, count in totals.commands.items()]
        commands.append((("unreadable",), counts["unreadable"]))
        yield counters("backbeat_engine_commands", "Commands applied.", ("kind",), commands)
        yield counter("backbeat_engine_busy_seconds", "Time spent applying commands.", work.busy_seconds)
        yield histograms(
            "backbeat_engine_batch_commands", "Commands applied in one piece.", (), [((), work.batch_commands)]
        )
        yield histograms(
            "backbeat_engine_command_age_seconds",
            "From the broker's time of a batch's last command to its end.",
            (),
            [((), work.age_seconds)],
        )
        yield counters(
            "backbeat_engine_effects",
            "What followed from commands.",
            ("kind",),
            [((label_of(kind),), count) for kind, count in totals.effects.items()],
        )
        yield counters(
            "backbeat_engine_rejections",
            "Commands refused that nobody waits for.",
            ("reason",),
            [((reason.value,), count) for reason, count in totals.rejections.items()],
        )
        yield counters(
            "backbeat_engine_dead_letters",
            "Records put aside.",
            ("cause",),
            [
                (("unreadable",), counts["unreadable"]),
                (("refused",), sum(totals.rejections.values())),
                (("defect",), counts["defects"]),
            ],
        )
        yield counter(
            "backbeat_engine_repeats", "Commands read again after they were applied.", counts.get("repeats", 0)
        )
        yield counters(
            "backbeat_engine_queries",
            "Queries.",
            ("outcome",),
            [
                (("answered",), counts["queries"]),
                (("late",), counts["queries_late"]),
                (("unreadable",), counts["queries_bad"]),
            ],
        )
        yield gauge("backbeat_engine_queries_waiting", "Queries that wait for a partition.", self._last.waiting)
        yield gauge(
            "backbeat_engine_outbox_records",
            "Effects sent and not acknowledged.",
            self._process.deliveries.outbox.under_way,
        )
        yield gauge("backbeat_engine_backlog_records", "Commands read and not applied.", self._last.backlog)
        for name, text, by_topic in (
            ("requests", "Produce requests.", self._process.produced.requests),
            ("records", "Records in produce requests.", self._process.produced.records),
        ):
            yield counters(
                f"backbeat_engine_produce_{name}",
                text,
                ("topic",),
                [((topic,), by_topic[topic]) for topic in _PRODUCED_TOPICS],
            )

    def _nodes(self) -> Iterator[Metric]:
        totals = self._process.engine.counters
        statuses = [(("server", word(status)), totals.server[status]) for status in ServerStatus]
        statuses += [(("client", word(status)), totals.client[status]) for status in ClientStatus]
        yield counters("backbeat_engine_status_changes", "Changes to a status.", ("machine", "status"), statuses)
        activities = totals.activities.copy()
        yield counters(
            "backbeat_engine_activities_dispatched",
            "Activities and decisions sent to workers.",
            ("activity",),
            [((name,), activity.dispatched) for name, activity in activities.items()],
        )
        yield counters(
            "backbeat_engine_activities_retried",
            "Those of them that were not the first attempt.",
            ("activity",),
            [((name,), activity.retried) for name, activity in activities.items()],
        )
        yield counters(
            "backbeat_engine_activities_finished",
            "What came of activities.",
            ("activity", "outcome"),
            [
                ((name, outcome), count)
                for name, activity in activities.items()
                for outcome, count in activity.finished.items()
            ],
        )
        yield counter("backbeat_engine_notifications", "Error notifications sent.", totals.effects[Notify])

    def _commits(self) -> Iterator[Metric]:
        commits = self._process.committer.histograms
        yield histograms("backbeat_engine_commit_seconds", "One commit.", (), [((), commits.seconds)])
        yield histograms(
            "backbeat_engine_commit_step_seconds",
            "One step of a commit.",
            ("step",),
            [((step,), buckets) for step, buckets in commits.steps.items()],
        )
        yield histograms("backbeat_engine_commit_records", "Records in one commit.", (), [((), commits.records)])
        yield histograms("backbeat_engine_commit_bytes", "Their keys and values.", (), [((), commits.bytes)])
        yield gauge(
            "backbeat_engine_last_commit_timestamp_seconds", "When the newest commit ended.", commits.last_ended_at
        )
        yield gauge("backbeat_engine_changed_records", "Records that wait for the next commit.", self._last.changed)
        yield histograms("backbeat_engine_restore_seconds", "One restore.", (), [((), commits.restore_seconds)])

    def _partitions(self) -> Iterator[Metric]:
        partitions = self._last.partitions

        def of_partition(name: str, text: str, value: Callable[[_PartitionReading], float]) -> Metric:
            samples = [((str(partition),), value(reading)) for partition, reading in partitions.items()]
            return gauges(f"backbeat_engine_{name}", text, ("partition",), samples)

        yield of_partition("lag_records", "Commands behind the newest applied one.", lambda reading: reading.lag)
        yield of_partition(
            "uncommitted_records",
            "Commands applied and not committed yet.",
            lambda reading: max(0, reading.position - reading.committed),
        )
        yield of_partition("position_offset", "The next command's offset.", lambda reading: reading.position)
        yield of_partition("pending_records", "Commands read that wait for a restore.", lambda reading: reading.pending)
        yield of_partition("store_records", "Records stored, as RocksDB estimates.", lambda reading: reading.records)
        yield of_partition("store_bytes", "Their bytes on disk and in write buffers.", lambda reading: reading.size)
        yield of_partition("cached_records", "Decoded records in memory.", lambda reading: reading.cached)
        yield of_partition("timers_armed", "Timers due within the next minute.", lambda reading: reading.armed)
        yield of_partition(
            "timers_overdue", "Timers that are due and were not applied yet.", lambda reading: reading.overdue
        )
        yield of_partition(
            "timers_overdue_seconds",
            "How long the oldest of them has been due.",
            lambda reading: reading.overdue_seconds,
        )
        yield counter(
            "backbeat_engine_timers_fired", "Commands sent for due timers.", self._process.engine.counters.timers_fired
        )

    def _life(self) -> Iterator[Metric]:
        process = self._process
        yield gauges(
            "backbeat_engine_info",
            "Which engine this is.",
            ("version", "instance_id"),
            [((version(), process.settings.instance_id), 1)],
        )
        yield gauges(
            "backbeat_engine_partitions",
            "Partitions that it has.",
            ("state",),
            [(("ready",), len(self._last.partitions)), (("restoring",), self._last.restoring)],
        )
        restorer, disk = process.stores.restorer, process.stores.disk
        restores = dict(restorer.under_way)
        yield gauges(
            "backbeat_engine_restore_progress_ratio",
            "What is done of a restore.",
            ("partition",),
            [((str(partition),), restore.ratio) for partition, restore in restores.items()],
        )
        yield gauges(
            "backbeat_engine_restore_remaining_records",
            "Changelog records that it still has to read.",
            ("partition",),
            [((str(partition),), restore.remaining) for partition, restore in restores.items()],
        )
        restored_count = restorer.records + sum(restore.records for restore in restores.values())
        yield counter("backbeat_engine_restore_records", "Changelog records restored.", restored_count)
        yield counter(
            "backbeat_engine_stores_set_aside",
            "Stores that were damaged, and were made anew.",
            restorer.set_aside_count,
        )
        yield gauge("backbeat_engine_disk_full", "Whether it waits for room on its disk.", float(disk.is_full))
        yield gauge("backbeat_engine_disk_free_bytes", "Room on its disk.", disk.free_bytes())
        delay = time.monotonic() - process.came_round_at if process.rounds else 0.0
        yield gauge("backbeat_engine_loop_delay_seconds", "Since the event loop came round.", delay)
        age = process.lease.heard_ago
        yield gauge("backbeat_engine_heartbeat_age_seconds", "Since the group answered.", -1.0 if age is None else age)


def on_loop(loop: asyncio.AbstractEventLoop, read: Callable[[], _T]) -> _T | None:
    """Result of a read on the loop, from any other thread; None where the loop does not answer within a second."""
    future: concurrent.futures.Future[_T] = concurrent.futures.Future()

    def call() -> None:
        try:
            future.set_result(read())
        except Exception as error:  # noqa: BLE001 - any error is the caller's
            future.set_exception(error)

    try:
        loop.call_soon_threadsafe(call)
        return future.result(_LOOP_SECONDS_MAX)
    except (RuntimeError, TimeoutError):
        return None  # The loop is closed, or it hangs.
