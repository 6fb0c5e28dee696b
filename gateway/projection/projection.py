"""The projection for the gateway: follows the changelog in a thread, answers searches from its tables."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection

from backbeat.client.search import SearchCount
from backbeat.gateway.api.shapes.reports import Activities, Causes, Daily, Failures, Summary
from backbeat.gateway.projection.following.changelog import Lag
from backbeat.gateway.projection.following.follower import Follower
from backbeat.gateway.projection.metrics import ProjectionCollector
from backbeat.gateway.projection.reading import causes, failures, lists, reports, search, several
from backbeat.gateway.projection.reading.filters import Counts, NodeFilters, WorkflowFilters
from backbeat.gateway.projection.reading.reader import TableReader
from backbeat.gateway.projection.storage.database import READERS, open_engine, parse_url
from backbeat.schemas.messages.views import NodeView, WorkflowView
from backbeat.streams.ports.errors import NewerRecordError

#: Commit request to a partition's owner: (partition, changelog offset that covers all writes so far).
Flush = Callable[[int], Awaitable[tuple[int, int]]]

_T = TypeVar("_T")
_ROUND_SECONDS_MAX = 5.0

logger = logging.getLogger(__name__)


class Projection:
    """Tables that follow the changelog. Used from one event loop, from `start()` to `stop()`."""

    def __init__(
        self,
        bootstrap_servers: str,
        database_url: str,
        *,
        flush: Flush,
        partitions: int | Callable[[], int],
        refuse: Callable[[NewerRecordError], object] = lambda _: None,
    ) -> None:
        """`partitions`: number of the changelog's partitions, or a function that knows it; `refuse`: see `Follower`."""
        self._bootstrap_servers = bootstrap_servers
        self._url = parse_url(database_url)
        self._engine = open_engine(self._url)
        self._flush = flush
        self._partitions = partitions
        self._follower = Follower(bootstrap_servers, self._engine, refuse=refuse)
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="projection-search")
        self._freshening: _Round | None = None
        self._next_round: _Round | None = None
        self._fresh_at = time.monotonic()
        self._reader = TableReader(self._url, self._engine, self._follower.progress)
        #: Collector for Prometheus.
        self.metrics = ProjectionCollector(self._follower, self._reader, Lag(bootstrap_servers))

    async def start(self) -> None:
        """Start to follow. Nothing need be reachable yet: it retries, and searches are refused with the reason."""
        self._follower.start()

    async def stop(self) -> None:
        """Stop following; searches in progress are answered."""
        await asyncio.to_thread(self._follower.stop)
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.dispose()

    # --- freshness -------------------------------------------------------------------------------------------------

    async def freshen(self, seconds_max: float = 2.0) -> float:
        """Wait until the tables contain every write that was answered before this call, for at most `seconds_max`.

        Returns 0.0, or the seconds that the tables may be behind.
        """
        began_at = time.monotonic()
        if self._next_round is None:
            # A round in progress may have sent its requests before our write was answered; the next one will not have.
            self._next_round = _Round(self._freshening)
            self._next_round.task = asyncio.create_task(self._run_round(self._next_round))
        next_round = self._next_round
        assert next_round.task is not None
        finished, _ = await asyncio.wait(
            (next_round.task,), timeout=max(0.0, seconds_max - (time.monotonic() - began_at))
        )
        if finished and not next_round.task.cancelled() and next_round.task.result():
            return 0.0
        return time.monotonic() - self._fresh_at

    async def _run_round(self, freshen_round: _Round) -> bool:
        """True once the tables contain everything."""
        if freshen_round.previous is not None and freshen_round.previous.task is not None:
            await asyncio.wait((freshen_round.previous.task,))
        freshen_round.previous = None
        self._next_round, self._freshening = None, freshen_round
        requested_at = time.monotonic()
        try:
            # The caller has given up by then; the next round asks anew.
            async with asyncio.timeout(_ROUND_SECONDS_MAX):
                count = self._partitions() if callable(self._partitions) else self._partitions
                async with asyncio.TaskGroup() as group:
                    flushes = [group.create_task(_awaited(self._flush(partition))) for partition in range(count)]
                await self._reach(dict(flush.result() for flush in flushes))
        except Exception as error:  # noqa: BLE001 - any error: the search is answered, with its staleness
            logger.warning("a search may miss the newest writes: %s", _first(error))
            return False
        else:
            self._fresh_at = max(self._fresh_at, requested_at)
            return True
        finally:
            if self._freshening is freshen_round:
                self._freshening = None

    async def _reach(self, offsets: dict[int, int]) -> None:
        """Wait until the tables hold everything before these offsets."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        progress = self._follower.progress

        def note() -> None:
            loop.call_soon_threadsafe(changed.set)

        progress.listen(note)
        try:
            while True:
                positions = progress.positions()
                if all(positions.get(partition, -1) >= offset for partition, offset in offsets.items()):
                    return
                await changed.wait()
                changed.clear()
        finally:
            progress.unlisten(note)

    # --- answers ---------------------------------------------------------------------------------------------------

    async def search_workflows(self, user_id: bytes, filters: WorkflowFilters) -> list[WorkflowView]:
        """A page of the user's workflows that have nodes, newest first."""
        return await self._read(lambda connection: search.search_workflows(connection, user_id, filters))

    async def search_nodes(self, user_id: bytes, filters: NodeFilters) -> list[NodeView]:
        """A page of the user's nodes, oldest first."""
        return await self._read(lambda connection: search.search_nodes(connection, user_id, filters))

    async def search_workflows_of(self, user_ids: list[bytes], filters: WorkflowFilters) -> list[WorkflowView]:
        """A page of these users' workflows, newest first."""
        return await self._read(lambda connection: several.workflows_of(connection, user_ids, filters))

    async def search_nodes_of(self, user_ids: list[bytes], filters: NodeFilters) -> list[NodeView]:
        """A page of these users' nodes, newest first."""
        return await self._read(lambda connection: several.nodes_of(connection, user_ids, filters))

    async def count(
        self, user_ids: Iterable[bytes], filters: WorkflowFilters | NodeFilters, count_max: int
    ) -> SearchCount:
        """Number of these users' rows that match, counted up to a bound."""
        return await self._read(lambda connection: several.count(connection, user_ids, filters, count_max))

    async def workflow_names(self, user_id: bytes) -> list[str]:
        """Names of the user's workflows, sorted, without duplicates."""
        return await self._read(lambda connection: lists.workflow_names(connection, user_id))

    async def error_workflows(self, user_id: bytes) -> list[WorkflowView]:
        """Workflows of any user with a node of this user errored now; oldest first."""
        return await self._read(lambda connection: lists.error_workflows(connection, user_id))

    async def counts(self) -> Counts:
        """Nodes of all users by state, and their results."""
        return await self._read(lists.counts)

    async def summary(self) -> Summary:
        """The console report: counts of all clients by workflow and activity, timers."""
        return await self._read(reports.summary)

    async def activities(self, seconds: float, *, closed: bool = False) -> Activities:
        """Activities of all clients with nodes at work, and their results in the last `seconds`."""
        return await self._read(lambda connection: reports.activities(connection, seconds, closed=closed))

    async def causes(
        self, user_ids: Iterable[bytes] | None, count: int, cause_id: str | None = None, kinds: Collection[str] = ()
    ) -> Causes:
        """Failed nodes of these clients (None: of all) by cause; `cause_id`: of one cause; `kinds`: only these."""
        return await self._read(lambda connection: causes.causes(connection, user_ids, count, cause_id, kinds))

    async def failures(
        self, user_ids: Iterable[bytes] | None, by: str, count: int, kinds: Collection[str] = ()
    ) -> Failures:
        """Failed nodes of these clients (None: of all) by activity, client or workflow; `kinds`: only these."""
        return await self._read(lambda connection: failures.failures(connection, user_ids, by, count, kinds))

    async def daily(self, since: int, until: int, stuck_hours: float) -> Daily:
        """Results of nodes from `since` to before `until` (milliseconds since the epoch), and stuck nodes."""
        return await self._read(lambda connection: reports.daily(connection, since, until, stuck_hours))

    async def read(self, query: Callable[[Connection], _T]) -> _T:
        """Result of a function of `reading`, in one snapshot; for answers that take several."""
        return await self._read(query)

    async def _read(self, query: Callable[[Connection], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._reader.read, query)

    # --- for health and metrics --------------------------------------------------------------------------------------

    @property
    def trouble(self) -> str:
        """Why the tables do not follow at the moment; empty: they do."""
        return self._follower.progress.trouble

    @property
    def has_begun(self) -> bool:
        """False: the process has just started, and nothing is known yet of the tables."""
        return self._follower.progress.has_begun

    @property
    def follows(self) -> bool:
        """True if this process applies the changelog to the tables."""
        return self._follower.follows

    @property
    def is_whole(self) -> bool:
        """True if searches are answered."""
        return self._follower.progress.whole

    def records_behind(self, ends: Mapping[int, int]) -> int | None:
        """Records before these ends of the changelog's partitions that are not in the tables; None: not known."""
        if not self.is_whole:
            return None
        positions = self._follower.progress.positions()
        return sum(max(0, end - positions.get(partition, 0)) for partition, end in ends.items())

    @property
    def records(self) -> int:
        """Records that this process has applied to the tables."""
        return self._follower.progress.records


async def _awaited(flush: Awaitable[tuple[int, int]]) -> tuple[int, int]:
    return await flush


def _first(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


class _Round:
    """A flush of all partitions, for every caller before it began."""

    def __init__(self, previous: _Round | None) -> None:
        self.previous = previous
        self.task: asyncio.Task[bool] | None = None
