"""`backbeat projection follow`: a process that only follows the changelog, so that gateways need not."""

from __future__ import annotations

import contextlib
import gc
import logging
import signal
import sys
import threading
from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import URL

from backbeat.gateway.projection.following.changelog import Lag
from backbeat.gateway.projection.following.follower import Follower
from backbeat.gateway.projection.metrics import ProjectionCollector
from backbeat.gateway.projection.reading.reader import TableReader
from backbeat.gateway.projection.storage.database import open_engine
from backbeat.observe.prometheus import gauges, new_registry, version
from backbeat.observe.status_server import Address, Status, StatusError, StatusServer
from backbeat.schemas.kafka.brokers import RefusedError, UnreachableError, reach
from backbeat.streams.observe import logs
from backbeat.streams.process.termination import EXIT_INCONSISTENT_STATE, code_of, end

READY_LINE = "backbeat projection ready"
STATUS_LINE = "backbeat projection status"

logger = logging.getLogger(__name__)

_PART = "projection"
#: Growth in objects that starts a garbage collection.
_GC_OBJECTS = 50_000


class _ProcessCollector(Collector):
    """Metrics of the process itself."""

    def collect(self) -> Iterator[Metric]:
        """Version of the process."""
        yield gauges("backbeat_projection_info", "Which projection this is.", ("version",), [((version(),), 1)])


def run_projection(
    bootstrap_servers: str, url: URL, *, status: Address | None = None, log_format: str = "auto"
) -> None:
    """Follow the changelog until SIGTERM or Ctrl-C; the process exits on errors that a retry cannot mend.

    `status`: address of metrics, liveness and readiness; None: not served. RefusedError, SecurityError: it cannot
    begin.
    """
    logs.to_stderr(log_format)
    stop = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stop.set())
    try:
        reach(bootstrap_servers)
    except RefusedError:
        raise
    except UnreachableError as error:
        # An absent broker may come later, unlike one that refuses the connection.
        logger.warning("%s", error)
    # Rows leave no reference cycles: looking for some took a tenth of a record's cost.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_OBJECTS)
    engine = open_engine(url)
    follower = Follower(bootstrap_servers, engine, refuse=lambda _: stop.set())
    reader = TableReader(url, engine, follower.progress)
    with contextlib.ExitStack() as stack:
        stack.callback(engine.dispose)
        if status is not None:
            _serve_status(
                _status(follower, ProjectionCollector(follower, reader, Lag(bootstrap_servers))), status, stack
            )
        follower.start()
        stack.callback(follower.stop)
        _print_line(READY_LINE)
        stop.wait()
    if follower.refusal is not None:
        end(str(follower.refusal), code_of(follower.refusal), part=_PART)


def _serve_status(status: Status, address: Address, stack: contextlib.ExitStack) -> None:
    try:
        server = StatusServer(status, address)
    except StatusError as error:
        end(str(error), EXIT_INCONSISTENT_STATE, part=_PART)
    server.start()
    stack.callback(server.stop)
    _print_line(f"{STATUS_LINE}: {server.url}")


def _status(follower: Follower, collector: ProjectionCollector) -> Status:
    registry = new_registry()
    registry.register(_ProcessCollector())
    registry.register(collector)
    return Status(registry, lambda: _why_not_live(follower), lambda: _why_not_ready(follower))


def _why_not_live(follower: Follower) -> list[str]:
    # Failures are retried: a new process would not help.
    return [] if follower.running else ["nobody follows the changelog in this process"]


def _why_not_ready(follower: Follower) -> list[str]:
    progress = follower.progress
    if progress.trouble:
        return [progress.trouble]
    return [] if progress.whole else [f"the tables are being built: {progress.records:,} records so far"]


def _print_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
