"""Lifecycle of one engine process: assignment, restores, commits, timers, end. Called by `faust_app`.

A fatal error ends the process at once, with one line that says why: another process, or this one started again, goes
on from the last commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice

from backbeat.schemas.kafka import topics
from backbeat.schemas.kafka.broker_log import OUTAGES
from backbeat.schemas.kafka.client_registry import ClientRegistry
from backbeat.streams.engine.deliveries import Deliveries
from backbeat.streams.engine.loop import Engine, EngineError, Record
from backbeat.streams.engine.ports import DamagedStoreError, NewerRecordError, RestoreError, StoreError
from backbeat.streams.kafka.clock import BrokerClock
from backbeat.streams.kafka.log_tail import first_data
from backbeat.streams.observe import tracing
from backbeat.streams.observe.histograms import CommitHistograms, WorkHistograms
from backbeat.streams.output.outbox import Outbox, OutboxError
from backbeat.streams.process.deadline import Deadline
from backbeat.streams.process.holder import note_member, other_holder, replaced_text
from backbeat.streams.process.lease import Lease
from backbeat.streams.process.settings import EngineSettings
from backbeat.streams.process.stalls import Stalls
from backbeat.streams.process.termination import EXIT_INCONSISTENT_STATE, code_of, end
from backbeat.streams.state.commit import CommitError, KafkaTransaction, Member, commit
from backbeat.streams.state.disk_space import DiskSpace
from backbeat.streams.state.local_stores import LocalStores
from backbeat.streams.state.restore import KafkaChangelog
from backbeat.streams.state.restorer import Restorer
from backbeat.streams.state.store import PartitionStore

logger = logging.getLogger(__name__)

READY_LINE = "backbeat engine ready"
_TICK_SECONDS = 0.02
_RESTORES_AT_ONCE = 2
#: Time of one read of the registry to its end for an unknown client, which the ingest may have known sooner.
_FIND_SECONDS_MAX = 3.0
#: Commands after which timers, queries and the commit get their turn.
_RECORDS_AT_ONCE = 50


class EngineProcess:
    """The parts of one engine process, and their order of work."""

    def __init__(
        self,
        settings: EngineSettings,
        registry: ClientRegistry,
        partitions_count: int,
        was_away: Callable[[float], bool] = lambda _: False,
    ) -> None:
        """`was_away`: true when no broker answered at some time since then; deadlines then begin anew."""
        self.settings, self._partitions_count = settings, partitions_count
        self.clock = BrokerClock()
        self.lease = Lease(settings.session_timeout_seconds)
        self._registry = registry
        self.outbox = Outbox(settings.bootstrap_servers, f"{settings.transactional_id}-effects")
        #: the offset of the first data record of a partition's commands from an offset on; blocks
        self.first_data = partial(first_data, settings)
        self.engine = Engine(
            partitions_count=partitions_count,
            transactional_id=settings.transactional_id,
            outbox=self.outbox,
            activities_topic=self._activities_topic,
            seek=lambda number, offset, read: self.seek(number, offset, read),  # noqa: PLW0108 - `seek` is set later
            is_owner=self.lease.is_certain,
            sample=self.clock.sample,
            rules=tracing.rules(),
        )
        self._transaction = KafkaTransaction(
            settings.bootstrap_servers,
            settings.transactional_id,
            settings.transaction_timeout_seconds,
            self.clock.sample,
            was_away,
        )
        self.deliveries = Deliveries(self.outbox, self.engine, hold_back=self._hold_back, was_away=was_away)
        self.disk = DiskSpace(settings.data_dir, self._hold_back)
        self._state_topic_id = topics.topic_id(settings.bootstrap_servers, topics.STATE)
        cache_records = max(256, settings.cache_records // partitions_count)
        self.restorer = Restorer(
            settings,
            lambda number: PartitionStore(settings.data_dir / f"partition-{number}", number, cache_records),
            lambda: KafkaChangelog(settings),
            self.disk,
        )
        self.work, self.commits = WorkHistograms(self.clock.now), CommitHistograms()
        self.restorer.took = self.commits.restored
        self.committed: dict[int, int] = {}  #: committed position of each partition in the commands topic
        #: count of the rounds of `tick`, and time of the last one
        self.rounds, self.came_round_at = 0, time.monotonic()
        self.giving_back = False  #: true while it gives its partitions back
        self._restoring = ThreadPoolExecutor(_RESTORES_AT_ONCE, "restore")
        self._committing = ThreadPoolExecutor(1, "commit")
        self._finding = ThreadPoolExecutor(1, "find")
        self._find_lock = asyncio.Lock()
        pool, spawn = self._restoring, self.spawn
        self.stores = LocalStores(self.engine, self.restorer, self.disk, pool, spawn=spawn, restored=self._restored)
        self.stalls = Stalls(self.engine, self.disk, self._restoring, self.first_data, settings.stall_timeout_seconds)
        self._other_holder: str | None = None  #: host of a process that had the instance id, and may be alive
        self.member: Member | None = None  #: membership of the current assignment
        self._deadline = Deadline(settings.commit_timeout_seconds)  #: of the newest commit
        self._commit_wanted = asyncio.Event()
        self._last_commit = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_ready_logged = False
        #: called with a partition that has too many pending records, and when it has none
        self.pause: Callable[[int], None] = lambda _: None
        self.resume: Callable[[int], None] = lambda _: None
        #: starts a read of a partition from an offset on; its records carry the read's number
        self.seek: Callable[[int, int, int], None] = lambda *_: None
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._paused: set[int] = set()

    def start(self) -> None:
        """Fence an earlier process with this id, before joining the group."""
        self._other_holder = other_holder(self.settings)
        self._transaction.init(self.settings.commit_timeout_seconds)

    def _hold_back(self, waits: bool) -> None:  # noqa: FBT001 - a callback's one argument
        """Let commands wait, or go on; from any thread."""
        self._loop.call_soon_threadsafe(self._may_send.clear if waits else self._may_send.set)

    def _activities_topic(self, client_id: bytes) -> str | None:
        client = self._registry.by_id(client_id)
        return None if client is None else client.topic

    async def _find_clients(self) -> None:
        """Send the activities of unknown clients, once the registry is read to its end.

        The ingest may have known such a client sooner. The loop never waits for the registry.
        """
        async with self._find_lock:
            while waiting := len(self.engine.unknown):
                epoch, loop = self.stores.epoch, asyncio.get_running_loop()
                is_read = await loop.run_in_executor(self._finding, self._registry.catch_up, _FIND_SECONDS_MAX)
                if epoch != self.stores.epoch and not self.stores.revoking:
                    return  # They were dropped with the assignment: the next owner sends them.
                if is_read:
                    self.engine.send_unknown(waiting)
                else:
                    OUTAGES.tell(logger, "activities of clients that nobody knows yet wait for the registry")

    def joined(self, member: Member) -> None:
        """Take the membership of the assignment that follows. Called on the consumer's thread."""
        if member.generation < 0 or not member.member_id:
            end(f"the group gave no valid membership: {member}")
        if self._other_holder is not None:
            # The other process learns of it by its next heartbeat; one that is paused does not, and may have a lease.
            logger.warning(
                "another process, at %s, had the instance id %s a moment ago: nothing is done until its session is "
                "over. Where both are to run, give each an --instance-id of its own",
                self._other_holder,
                self.settings.instance_id,
            )
            self._other_holder = None
            self.lease.wait_for_others()
        note_member(self.settings.data_dir, member.member_id)
        self.member = member

    def replaced(self) -> None:
        """End the process where another one has its instance id: the group does not know this member."""
        if self.lease.lose():
            end(replaced_text(self.settings.instance_id))

    async def assigned(self, numbers: Iterable[int]) -> None:
        """Begin an assignment. Its partitions are restored in the background: the group waits for this handler."""
        self._loop = asyncio.get_running_loop()
        self._drop()
        self.engine.assign(numbers)
        self.stores.revoking = False
        for number in sorted(self.engine.partitions):
            self.spawn(self.stores.restore(number, self.stores.epoch))
        self._log_ready()

    def spawn(self, work: Awaitable[None]) -> None:
        """Run work in the background; its failure ends the process."""

        async def guarded() -> None:
            try:
                await work
            except (RestoreError, NewerRecordError) as error:
                end(str(error), EXIT_INCONSISTENT_STATE)
            except Exception as error:
                logger.exception("a background task failed")
                end(f"{type(error).__name__}: {error}")

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _restored(self, number: int) -> None:
        store = self.engine.partitions[number].store
        assert store is not None
        self.committed[number] = store.meta.next_offset
        # A touch, soon: the estimate of the broker's time may be old or missing.
        self._last_commit = 0.0
        self._commit_wanted.set()
        self._unpause(number)
        self._log_ready()

    def _unpause(self, number: int) -> None:
        """Resume a partition: librdkafka leaves it paused from one assignment to the next."""
        self._paused.discard(number)
        self.resume(number)

    def _log_ready(self) -> None:
        partitions = self.engine.partitions
        if any(partition.store is None for partition in partitions.values()):
            return
        self._restoring.submit(self.restorer.give_back)
        if not self._is_ready_logged:
            self._is_ready_logged = True
            sys.stdout.write(f"{READY_LINE}: {len(partitions)} partitions\n")
            sys.stdout.flush()

    @property
    def hands_over(self) -> bool:
        """True when other engines take over at once after a stop: there are some, and few records to restore."""
        stores = [partition.store for partition in self.engine.partitions.values()]
        records = sum(store.stored_estimate()[0] for store in stores if isinstance(store, PartitionStore))
        return len(stores) < self._partitions_count and records < self.settings.leave_records_max

    async def revoked(self) -> None:
        """End the assignment: commit, then drop it."""
        self.stores.epoch += 1
        # The group waits no longer, also not for a running commit.
        self._deadline.bring_forward(self.settings.rebalance_timeout_seconds)
        self.stores.revoking = self.giving_back = True  # Later records are the next owner's.
        await self.commit()
        self.giving_back = False
        self._drop()
        self._paused.clear()
        self.member = None

    def _drop(self) -> None:
        # A store that the last commit has found damaged is not restored any more.
        self.stores.epoch += 1
        self.committed = {}
        self.engine.drop()

    async def commands(self, number: int, records: Iterable[Record], read_number: int) -> None:
        """Apply records of one partition of the commands topic, in order. Other work gets its turn in between."""
        remaining = iter(records)
        while chunk := list(islice(remaining, _RECORDS_AT_ONCE)):
            await asyncio.sleep(0)
            await self._may_send.wait()
            began = time.monotonic()
            for record in chunk:
                # Revoked, read again, or without its store since the last record: the rest comes again.
                if not self.engine.is_reading(number, read_number):
                    return
                self._command(record)
            self.work.note(len(chunk), time.monotonic() - began, chunk[-1].timestamp)

    def _command(self, record: Record) -> None:
        if self.stores.revoking:
            return
        try:
            self.engine.on_command(record)
            number, partition = record.partition, self.engine.partitions.get(record.partition)
            is_full = partition is not None and len(partition.pending) >= self.settings.pending_records_max
            if is_full and number not in self._paused:
                self._paused.add(number)
                self.pause(number)
        except DamagedStoreError as error:
            self.stores.repair(error)
        except EngineError as error:
            end(str(error))
        except Exception as error:
            logger.exception("offset %d", record.offset, extra={"partition": record.partition})
            end(f"{type(error).__name__}: {error}", code_of(error))

    def _resume_paused(self) -> None:
        for number in list(self._paused):
            partition = self.engine.partitions.get(number)
            if partition is None or not partition.pending:
                self._paused.discard(number)
                self.resume(number)

    async def query(self, record: Record) -> None:
        """Answer one record of the queries topic."""
        if self.stores.revoking:
            return  # The next owner reads it, and has the committed state.
        begun = False
        try:
            for _ in self.engine.on_query(record, self.clock.now()):
                begun = True
                await asyncio.sleep(0)  # Commands pass between the parts of a large answer.
            if self.engine.flushes:
                self._commit_wanted.set()
        except DamagedStoreError as error:
            self.stores.repair(error)
            if not begun:
                await self.query(record)  # It waits for the partition's restore.
        except Exception as error:
            logger.exception("a query at offset %d", record.offset, extra={"partition": record.partition})
            end(f"{type(error).__name__}: {error}", code_of(error))

    # --- background -------------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Do timers, delivery reports and waits, for as long as the process lives."""
        try:
            while True:
                self.rounds += 1
                self.came_round_at = time.monotonic()
                try:
                    self._work(self.clock.now())
                except DamagedStoreError as error:
                    self.stores.repair(error)
                self.deliveries.take_undelivered()
                if self.engine.unknown and not self._find_lock.locked():
                    self.spawn(self._find_clients())
                if self.engine.changed_count >= self.settings.commit_records_max:
                    self._commit_wanted.set()
                await asyncio.sleep(_TICK_SECONDS)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            logger.exception("timers")
            end(f"{type(error).__name__}: {error}", code_of(error))

    def _work(self, now: int) -> None:
        self.engine.go_on()
        self._resume_paused()
        if self.clock.sampled:
            self.engine.fire_timers(now)
        self.engine.end_waits(now)

    async def commit_regularly(self) -> None:
        """Commit at every interval, or sooner on request."""
        settings = self.settings
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._commit_wanted.wait(), settings.commit_interval_seconds)
            self._commit_wanted.clear()
            await self.commit(touch=time.monotonic() - self._last_commit >= settings.touch_interval_seconds)

    async def commit(self, *, touch: bool = False) -> None:
        """Commit all changes so far."""
        async with self.stores.commit_lock:
            member = self.member
            if member is None:
                return
            engine, settings = self.engine, self.settings
            if engine.unknown:
                # Effects are sent before their commit. Commands wait meanwhile.
                self._may_send.clear()
                await self._find_clients()
                self._may_send.set()
            flushes, engine.flushes = engine.flushes, []
            timed = self.commits.begin()
            seconds = settings.rebalance_timeout_seconds if self.stores.revoking else settings.commit_timeout_seconds
            deadline = self._deadline = Deadline(seconds)
            snapshots, partition_stores = engine.snapshot(touch=touch)
            if snapshots:
                timed.snapshot(snapshots)
                loop = asyncio.get_running_loop()
                try:
                    await loop.run_in_executor(
                        self._committing,
                        lambda: commit(
                            snapshots,
                            partition_stores,
                            member,
                            deadline,
                            flush=self.deliveries.flush,
                            transaction=self._transaction,
                            state_topic_id=self._state_topic_id,
                            passed=timed.passed,
                            write=self.stores.write,
                        ),
                    )
                except Exception as error:
                    # It is unknown how much was committed: the next owner finds out.
                    is_expected = isinstance(error, CommitError | OutboxError | StoreError)
                    if not is_expected:
                        logger.exception("a commit")
                    end(f"the commit failed: {error if is_expected else repr(error)}")
                for snapshot in snapshots:
                    partition_stores[snapshot.partition].mark_durable()
                    self.committed[snapshot.partition] = snapshot.position
                self.stores.repair_written()
                timed.done()
                self._last_commit = time.monotonic()
            engine.answer_flushes(flushes)
