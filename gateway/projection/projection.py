"""The projection as the gateway uses it: follows the changelog in a thread, answers searches from its tables."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection

from backbeat.gateway.api.report_json import Activities, Daily, Summary
from backbeat.gateway.projection.following.changelog import Lag
from backbeat.gateway.projection.following.follower import Follower
from backbeat.gateway.projection.metrics import ProjectionCollector
from backbeat.gateway.projection.reading import lists, reports, search
from backbeat.gateway.projection.reading.filters import Counts, NodeFilters, WorkflowFilters
from backbeat.gateway.projection.reading.reader import Reading
from backbeat.gateway.projection.storage.database import READERS, open_engine, parse_url
from backbeat.schemas.messages.views import NodeView, WorkflowView
from backbeat.streams.engine.ports import NewerRecordError

#: Asks the owner of a partition to commit now: gives (partition, offset of the changelog that contains everything).
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
        """`partitions`: how many the changelog has, or what gives that once it is known; `refuse`: as `Follower`'s."""
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
        self._reading = Reading(self._url, self._engine, self._follower.progress)
        #: What Prometheus is shown of it.
        self.metrics = ProjectionCollector(self._follower, self._reading, Lag(bootstrap_servers))

    async def start(self) -> None:
        """Begin to follow. Nothing need be reachable yet: it goes on trying, and searches say what is missing."""
        self._follower.start()

    async def stop(self) -> None:
        """Stop following; searches under way are answered."""
        await asyncio.to_thread(self._follower.stop)
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.dispose()

    # --- freshness -------------------------------------------------------------------------------------------------

    async def freshen(self, seconds_max: float = 2.0) -> float:
        """Wait until the tables contain every write that was answered before this was called.

        At most so long. Gives 0.0, or for how many seconds at most the tables may be behind.
        """
        began = time.monotonic()
        if self._next_round is None:
            # A round that has begun may have asked before our write was answered: the next one will not have.
            self._next_round = _Round(self._freshening)
            self._next_round.task = asyncio.create_task(self._run_round(self._next_round))
        one = self._next_round
        assert one.task is not None
        done, _ = await asyncio.wait((one.task,), timeout=max(0.0, seconds_max - (time.monotonic() - began)))
        if done and not one.task.cancelled() and one.task.result():
            return 0.0
        return time.monotonic() - self._fresh_at

    async def _run_round(self, one: _Round) -> bool:
        """Whether the tables contain everything by now."""
        if one.before is not None and one.before.task is not None:
            await asyncio.wait((one.before.task,))
        one.before = None
        self._next_round, self._freshening = None, one
        asked_at = time.monotonic()
        try:
            # Whoever waits has gone by then; the next round asks anew.
            async with asyncio.timeout(_ROUND_SECONDS_MAX):
                count = self._partitions() if callable(self._partitions) else self._partitions
                async with asyncio.TaskGroup() as group:
                    asks = [group.create_task(_awaited(self._flush(number))) for number in range(count)]
                await self._reach(dict(ask.result() for ask in asks))
        except Exception as error:  # noqa: BLE001 - whatever it is, the search is answered, and says how old it may be
            logger.warning("a search may miss the newest writes: %s", _first(error))
            return False
        else:
            self._fresh_at = max(self._fresh_at, asked_at)
            return True
        finally:
            if self._freshening is one:
                self._freshening = None

    async def _reach(self, wanted: dict[int, int]) -> None:
        """Wait until the tables hold everything up to these offsets."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        progress = self._follower.progress

        def note() -> None:
            loop.call_soon_threadsafe(changed.set)

        progress.listen(note)
        try:
            while True:
                reached = progress.positions()
                if all(reached.get(number, -1) >= offset for number, offset in wanted.items()):
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

    async def workflow_names(self, user_id: bytes) -> list[str]:
        """The names of the user's workflows, sorted, once each."""
        return await self._read(lambda connection: lists.workflow_names(connection, user_id))

    async def error_workflows(self, user_id: bytes) -> list[WorkflowView]:
        """The workflows, of whatever user, in which a node of this user is errored now; oldest first."""
        return await self._read(lambda connection: lists.error_workflows(connection, user_id))

    async def counts(self) -> Counts:
        """How many nodes, of all users, are where, and what came of them."""
        return await self._read(lists.counts)

    async def summary(self) -> Summary:
        """The console report: counts of all clients by workflow and activity, timers."""
        return await self._read(reports.summary)

    async def activities(self, seconds: float, *, closed: bool = False) -> Activities:
        """The activities of all clients that have nodes at work, and what came of them in the last seconds."""
        return await self._read(lambda connection: reports.activities(connection, seconds, closed=closed))

    async def daily(self, since: int, until: int, stuck_hours: float) -> Daily:
        """What came of nodes from `since` to before `until` (milliseconds since the epoch), and which are stuck."""
        return await self._read(lambda connection: reports.daily(connection, since, until, stuck_hours))

    async def _read(self, ask: Callable[[Connection], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._reading.read, ask)

    # --- for health and metrics --------------------------------------------------------------------------------------

    @property
    def trouble(self) -> str:
        """Why the tables do not follow at the moment; empty: they do."""
        return self._follower.progress.trouble

    @property
    def follows(self) -> bool:
        """Whether it is this process that brings the tables up to date."""
        return self._follower.follows

    @property
    def is_whole(self) -> bool:
        """Whether searches are answered."""
        return self._follower.progress.whole

    @property
    def records(self) -> int:
        """How many records this process has brought into the tables."""
        return self._follower.progress.records


async def _awaited(flush: Awaitable[tuple[int, int]]) -> tuple[int, int]:
    return await flush


def _first(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


class _Round:
    """One ask of all owners, for everybody who came before it began."""

    def __init__(self, before: _Round | None) -> None:
        self.before = before
        self.task: asyncio.Task[bool] | None = None
