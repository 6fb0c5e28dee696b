"""Commits of one engine process: regularly, on request, and when its partitions are given back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple

from backbeat.streams.engine.loop import Engine
from backbeat.streams.observe.histograms import CommitHistograms
from backbeat.streams.output.outbox import OutboxError
from backbeat.streams.ports.deadline import Deadline
from backbeat.streams.ports.errors import DamagedStoreError, StoreError
from backbeat.streams.ports.host_clock import HostClock
from backbeat.streams.ports.state import PartitionState
from backbeat.streams.process.gate import Gate
from backbeat.streams.process.settings import EngineSettings
from backbeat.streams.process.termination import End
from backbeat.streams.process.unknown_clients import UnknownClients
from backbeat.streams.state.commit import CommitError, Member, Transaction, commit
from backbeat.streams.state.local_stores import LocalStores

logger = logging.getLogger(__name__)


class DamagedStore(NamedTuple):
    """A store that a commit found damaged, no longer in use."""

    error: DamagedStoreError
    store: PartitionState


class Committer:
    """The commits of a process, one at a time. All methods are called on the event loop."""

    def __init__(
        self,
        settings: EngineSettings,
        engine: Engine,
        stores: LocalStores,
        *,
        flush: Callable[[Deadline], None],
        transaction: Transaction,
        unknown_clients: UnknownClients,
        gate: Gate,
        histograms: CommitHistograms,
        state_topic_id: str,
        thread: Executor,
        host_clock: HostClock,
        end: End,
    ) -> None:
        """`flush`: returns when every sent effect is acknowledged (`output.deliveries`)."""
        self._settings = settings
        self._engine = engine
        self._stores = stores
        self._flush = flush
        self._transaction = transaction
        self._unknown_clients = unknown_clients
        self._gate = gate
        self.histograms = histograms
        self._state_topic_id = state_topic_id
        self._thread = thread
        self._host_clock = host_clock
        self._end = end
        self.member: Member | None = None  #: membership of the current assignment; null: nothing is committed
        self.committed: dict[int, int] = {}  #: committed position of each partition in the commands topic
        self._deadline = Deadline(settings.commit_timeout_seconds, host_clock)  #: of the newest commit
        self._wanted = asyncio.Event()
        self._last_commit = host_clock.monotonic()

    def want(self) -> None:
        """Commit soon."""
        self._wanted.set()

    def restored(self, number: int, position: int) -> None:
        """Note a partition's committed position, and touch soon: the newest sample of the broker's time may be old."""
        self.committed[number] = position
        self._last_commit = 0.0
        self._wanted.set()

    async def next(self) -> list[DamagedStore]:
        """Commit after the interval, or sooner on request."""
        settings = self._settings
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wanted.wait(), settings.commit_interval_seconds)
        self._wanted.clear()
        is_due = self._host_clock.monotonic() - self._last_commit >= settings.touch_interval_seconds
        return await self.commit(touch=is_due)

    async def last(self) -> list[DamagedStore]:
        """Commit for the last time in an assignment: the group waits no longer, also not for a running commit."""
        self._deadline.bring_forward(self._settings.rebalance_timeout_seconds)
        return await self.commit()

    async def commit(self, *, touch: bool = False) -> list[DamagedStore]:
        """Commit all changes so far. Returns the stores found damaged, which the engine has lost."""
        damaged: list[DamagedStore] = []
        async with self._stores.commit_lock:
            member = self.member
            if member is None:
                return damaged
            engine, settings = self._engine, self._settings
            if engine.unknown:
                # Effects are sent before their commit. Commands wait meanwhile.
                with self._gate.closed():
                    await self._unknown_clients.search()
            flushes, engine.flushes = engine.flushes, []
            timed = self.histograms.begin()
            seconds = settings.rebalance_timeout_seconds if self._stores.revoking else settings.commit_timeout_seconds
            deadline = self._deadline = Deadline(seconds, self._host_clock)
            snapshots, partition_stores = engine.snapshot(touch=touch)
            if snapshots:
                timed.snapshot(snapshots)
                loop = asyncio.get_running_loop()
                try:
                    await loop.run_in_executor(
                        self._thread,
                        lambda: commit(
                            snapshots,
                            partition_stores,
                            member,
                            deadline,
                            flush=self._flush,
                            transaction=self._transaction,
                            state_topic_id=self._state_topic_id,
                            host_clock=self._host_clock,
                            passed=timed.passed,
                            write=self._stores.write,
                        ),
                    )
                except Exception as error:
                    # It is unknown how much was committed: the next owner finds out.
                    is_expected = isinstance(error, CommitError | OutboxError | StoreError)
                    if not is_expected:
                        logger.exception("a commit")
                    self._end(f"the commit failed: {error if is_expected else repr(error)}")
                for snapshot in snapshots:
                    partition_stores[snapshot.partition].mark_durable()
                    self.committed[snapshot.partition] = snapshot.position
                damaged = [
                    DamagedStore(error, store)
                    for error in self._stores.take_damaged()
                    if (store := engine.lose(error.partition)) is not None
                ]
                timed.done()
                self._last_commit = self._host_clock.monotonic()
            engine.answer_flushes(flushes)
        return damaged
