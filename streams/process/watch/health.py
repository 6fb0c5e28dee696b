"""Health of an engine: its watchdog, and its status for machines."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Hashable, Mapping

from backbeat.observe.prometheus import new_registry
from backbeat.observe.status_server import Address, Status, StatusServer
from backbeat.streams.input.ingest import Ingest
from backbeat.streams.kafka.lag_probe import LagProbe
from backbeat.streams.kafka.reachability import Reachability
from backbeat.streams.process.lifecycle import EngineProcess
from backbeat.streams.process.termination import end_hanging
from backbeat.streams.process.watch.metrics import EngineCollector
from backbeat.streams.process.watch.watchdog import Watchdog, Watched

logger = logging.getLogger(__name__)

STATUS_LINE = "backbeat engine status"

#: Probes of the log's ends within the commit's stall timeout.
_ASKS = 8
_ASK_SECONDS_MIN = 0.5
#: A batch of signals takes a fraction of a second.
_INGEST_SECONDS_MAX = 10.0
#: A transaction ends by itself at its timeout, unless the library hangs in it.
_COMMIT_GRACE_SECONDS = 2.0


class Watch:
    """The watchdog and the status server of an engine, from `start()` to `stop()`."""

    def __init__(
        self,
        process: EngineProcess,
        ingest: Ingest,
        reachability: Reachability,
        *,
        end_of_log: Callable[[int], int | None],
        first_data: Callable[[int, int], int],
        loop: asyncio.AbstractEventLoop,
        address: Address | None,
        ended: Callable[[str], None] = end_hanging,
    ) -> None:
        """`address`: of the status server; null: none. StatusError: the address cannot be used."""
        settings = process.settings
        self._process = process
        self._ingest = ingest
        self._reachability = reachability
        commit_seconds = settings.commit_stall_timeout_seconds
        self._ends = LagProbe(
            settings.bootstrap_servers,
            self._committed,
            first_data,
            max(_ASK_SECONDS_MIN, commit_seconds / _ASKS),
        )
        self._watchdog = Watchdog(
            [
                Watched("the event loop", self._rounds, settings.loop_timeout_seconds),
                Watched(
                    "a commit's transaction",
                    self._transacting,
                    settings.commit_timeout_seconds + _COMMIT_GRACE_SECONDS,
                ),
                Watched("giving the partitions back", self._giving_back, commit_seconds),
                Watched("the restore of partition", self._restores, settings.restore_stall_timeout_seconds),
                Watched(
                    "the log has commands, and the committed position of partition",
                    lambda: dict(self._ends.behind.items()),
                    commit_seconds + settings.commit_interval_seconds,
                ),
            ],
            ended,
        )
        registry = new_registry()
        registry.register(EngineCollector(process, ingest, end_of_log=end_of_log, loop=loop))
        status = Status(registry, lambda: self._watchdog.reasons, self._why_not_ready)
        self._server = None if address is None else StatusServer(status, address)

    def start(self) -> None:
        """Start the watchdog and the status server."""
        self._reachability.start()
        self._ends.start()
        self._watchdog.start()
        if self._server is not None:
            self._server.start()
            sys.stdout.write(f"{STATUS_LINE}: {self._server.url}\n")
            sys.stdout.flush()

    def stop(self) -> None:
        """Stop both: a clean stop may take longer than the timeouts."""
        self._watchdog.stop()
        self._reachability.stop()
        self._ends.stop()
        if self._server is not None:
            self._server.stop()

    def _committed(self) -> Mapping[int, int]:
        if self._process.stores.disk.is_full:
            return {}  # It waits for room on the disk, and does not hang.
        owned = list(self._process.engine.partitions.items())
        committed = self._process.committer.committed
        return {number: committed[number] for number, item in owned if item.store is not None and number in committed}

    def _rounds(self) -> Mapping[Hashable, object]:
        # Before the first round Faust starts its parts in the loop.
        return {None: self._process.rounds} if self._process.rounds else {}

    def _transacting(self) -> Mapping[Hashable, object]:
        number = self._process.committer.histograms.transacting
        if self._reachability.is_away():
            return {}  # It waits for the brokers, and does not hang.
        return {} if number is None else {None: number}

    def _giving_back(self) -> Mapping[Hashable, object]:
        # A process that waits for the brokers does not hang.
        return {None: True} if self._process.giving_back and not self._reachability.is_away() else {}

    def _restores(self) -> Mapping[Hashable, object]:
        if self._process.stores.disk.is_full or self._reachability.is_away():
            return {}
        under_way = dict(self._process.stores.restorer.under_way)
        return {number: (restore.began_at, restore.position) for number, restore in under_way.items()}

    def _why_no_signals(self) -> list[str]:
        ingest = self._ingest
        if not ingest.joined:
            return ["the ingest has been given no signals topics yet"]
        if ingest.stands_seconds > _INGEST_SECONDS_MAX:
            return [
                f"the ingest has been at the same signals for {ingest.stands_seconds:.0f} s: Kafka does not answer it"
            ]
        return []

    def _why_not_ready(self) -> list[str]:
        process = self._process
        if self._reachability.is_away():
            return [f"Kafka does not answer since {self._reachability.away_seconds:.0f} s"]
        count = self._reachability.other_count
        if count is not None:
            return [self._reachability.why_wrong(count)]
        if process.committer.member is None:
            return ["it has been given no partitions yet"]
        if process.stores.disk.is_full:
            return [f"the disk of {process.settings.data_dir} is full: the engine goes on when there is room"]
        restores = dict(process.stores.restorer.under_way)
        return self._why_no_signals() + [
            f"partition {number} is being restored: "
            + (f"{restores[number].ratio:.0%}" if number in restores else "it waits for its turn")
            for number, partition in list(process.engine.partitions.items())
            if partition.store is None
        ]
