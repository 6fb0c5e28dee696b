"""Lifecycle of one engine process: assignment, restores, commands, queries, timers. Called by `faust_app`.

A fatal error ends the process at once, with one line that says why: another process, or this one started again, goes
on from the last commit. `composition` builds the parts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from backbeat.schemas.kafka.produce_counts import ProduceCounts
from backbeat.schemas.kafka.topics import QUERIES
from backbeat.streams.engine.loop import Engine
from backbeat.streams.input.reader import Batch
from backbeat.streams.kafka.clock import BrokerClock
from backbeat.streams.observe.histograms import WorkHistograms
from backbeat.streams.output.deliveries import Deliveries
from backbeat.streams.output.slice_outbox import SliceOutbox
from backbeat.streams.ports.errors import DamagedStoreError, EngineError
from backbeat.streams.ports.host_clock import HostClock
from backbeat.streams.ports.log import Record
from backbeat.streams.ports.state import PartitionState
from backbeat.streams.process import memory
from backbeat.streams.process.background import Background
from backbeat.streams.process.backlog import Backlog
from backbeat.streams.process.committer import Committer
from backbeat.streams.process.gate import Gate
from backbeat.streams.process.holder import replaced_text
from backbeat.streams.process.lease import Lease
from backbeat.streams.process.settings import EngineSettings
from backbeat.streams.process.termination import End, code_of
from backbeat.streams.process.unknown_clients import UnknownClients
from backbeat.streams.state.commit import Member
from backbeat.streams.state.local_stores import NO_EPOCH, LocalStores
from backbeat.streams.state.store import PartitionStore

logger = logging.getLogger(__name__)

READY_LINE = "backbeat engine ready"
_TICK_SECONDS = 0.02
#: Time after which a slice of commands ends: timers, queries and the commit get their turn.
_SLICE_SECONDS = 0.02
#: Rounds of the event loop between two slices, or two parts of an answer: from the reader to its answer a query takes
#: three.
_ROUNDS_BETWEEN = 3


class LogReader(Protocol):
    """Port of the lifecycle: the reader of commands and queries (`input.reader`). No method blocks."""

    def forget(self) -> None:
        """Unassign all partitions."""

    def read_queries(self, numbers: Iterable[int], /) -> None:
        """Read partitions of the queries, from the group's offsets on."""

    def read_commands(self, number: int, offset: int, read_number: int, /) -> None:
        """Read a partition of the commands from an offset on; its records carry the read's number."""

    def pause(self, number: int, /) -> None:
        """Pause a partition of the commands: it has too many pending records. It may stay paused until `resume`."""

    def resume(self, number: int, /) -> None:
        """Resume a partition of the commands."""

    def end_of_commands(self, number: int, /) -> int | None:
        """End of a partition's commands; null: unknown."""


class Holder(Protocol):
    """Port of the lifecycle: who has this instance id (`process.holder`)."""

    def other(self) -> str | None:
        """The host of another process with the instance id; null: there is none."""

    def note(self, member_id: str, /) -> None:
        """Store the member id of this process."""


@dataclass(kw_only=True, eq=False)
class EngineProcess:
    """The parts of one engine process, and their order of work."""

    settings: EngineSettings
    partitions_count: int
    host_clock: HostClock
    clock: BrokerClock
    lease: Lease
    holder: Holder
    reader: LogReader
    engine: Engine
    effects: SliceOutbox
    produced: ProduceCounts  #: of all producers of the process
    deliveries: Deliveries
    stores: LocalStores
    committer: Committer
    unknown_clients: UnknownClients
    work: WorkHistograms
    gate: Gate
    backlog: Backlog
    background: Background
    announce: Callable[[str], object]
    end: End
    #: count of the rounds of `tick`, and time of the last one
    rounds: int = 0
    came_round_at: float = 0.0
    giving_back: bool = False  #: true while it gives its partitions back
    other_holder: str | None = None  #: host of a process that had the instance id, and may be alive
    _paused: set[int] = field(default_factory=set)
    _is_ready_announced: bool = False

    def joined(self, member: Member) -> None:
        """Take the membership of the assignment that follows. Called on the consumer's thread."""
        if member.generation < 0 or not member.member_id:
            self.end(f"the group gave no valid membership: {member}")
        if self.other_holder is not None:
            # The other process learns of it by its next heartbeat; one that is paused does not, and may have a lease.
            logger.warning(
                "another process, at %s, had the instance id %s a moment ago: nothing is done until its session is "
                "over. Where both are to run, give each an --instance-id of its own",
                self.other_holder,
                self.settings.instance_id,
            )
            self.other_holder = None
            self.lease.wait_for_others()
        self.holder.note(member.member_id)
        self.committer.member = member

    def replaced(self) -> None:
        """End the process where another one has its instance id: the group does not know this member."""
        if self.lease.lose():
            self.end(replaced_text(self.settings.instance_id))

    # --- assignment --------------------------------------------------------------------------------------------------

    async def assigned(self, numbers: Iterable[int]) -> None:
        """Begin an assignment. Its partitions are restored in the background: the group waits for this handler."""
        self.reader.forget()
        self._drop()
        self.engine.assign(numbers)
        self.stores.revoking = False
        for number in sorted(self.engine.partitions):
            self.background.spawn(self._restore(number, self.stores.epoch))
        self.reader.read_queries(self.engine.partitions)
        self._announce_ready()

    async def _restore(self, number: int, epoch: int, damaged: tuple[PartitionState, str] | None = None) -> None:
        """Restore a partition, and begin with it."""
        restored = await self.stores.restore(number, epoch, damaged)
        if restored is None:
            return
        try:
            self.engine.ready(number, *restored)
        except DamagedStoreError as error:
            self._repair(error, self.engine.lose(number))
            return
        self.committer.restored(number, restored[0].meta.next_offset)
        # librdkafka may leave it paused from one assignment to the next.
        self._resume(number)
        self._announce_ready()

    def _repair(self, error: DamagedStoreError, store: PartitionState | None) -> None:
        """Restore a partition anew whose store, which the engine has lost, is damaged; the others go on."""
        if store is not None:
            # While the partition is given back the store is only put aside.
            epoch = NO_EPOCH if self.stores.revoking else self.stores.epoch
            self.background.spawn(self._restore(error.partition, epoch, (store, error.reason)))

    def _resume(self, number: int) -> None:
        self._paused.discard(number)
        self.reader.resume(number)

    def _announce_ready(self) -> None:
        partitions = self.engine.partitions
        if any(partition.store is None for partition in partitions.values()):
            return
        self.stores.threads.submit(self._release)
        if not self._is_ready_announced:
            self._is_ready_announced = True
            self.announce(f"{READY_LINE}: {len(partitions)} partitions")

    def _release(self) -> None:
        """Release the connections and the memory of the restores; on one of their threads."""
        self.stores.restorer.give_back()
        memory.give_back()

    @property
    def hands_over(self) -> bool:
        """True when other engines take over at once after a stop: there are some, and few records to restore."""
        stores = [partition.store for partition in self.engine.partitions.values()]
        records = sum(store.stored_estimate()[0] for store in stores if isinstance(store, PartitionStore))
        return len(stores) < self.partitions_count and records < self.settings.leave_records_max

    async def revoked(self) -> None:
        """End the assignment: commit, then drop it."""
        self.reader.forget()
        self.stores.epoch += 1
        self.stores.revoking = self.giving_back = True  # Later records are the next owner's.
        for damaged in await self.committer.last():
            self._repair(*damaged)
        self.giving_back = False
        self._drop()
        self._paused.clear()
        self.committer.member = None

    def _drop(self) -> None:
        # A store that the last commit has found damaged is not restored any more.
        self.stores.epoch += 1
        self.committer.committed = {}
        self.backlog.clear()
        self.engine.drop()

    # --- records ----------------------------------------------------------------------------------------------------

    def take(self, batch: Batch) -> None:
        """Take records from the reader: commands while the backlog has room."""
        for (topic, number), read in batch.items():
            if topic != QUERIES:
                self.backlog.add(number, read.number, read.records)
                continue
            for record in read.records:
                # A task for each: a small query does not wait until a large tree is read.
                self.background.spawn(self.query(record))

    def applied(self, number: int) -> int | None:
        """The next command of a partition; null: it is not here. From any thread."""
        partition = self.engine.partitions.get(number)
        store = None if partition is None else partition.store
        return None if store is None else store.meta.next_offset

    async def apply_commands(self) -> None:
        """Apply commands as they come, for as long as the process lives. Other work gets its turn between slices."""
        try:
            while True:
                await self.backlog.filled()
                await self.gate.wait()
                self._slice()
                for _ in range(_ROUNDS_BETWEEN if self.backlog else 0):
                    await asyncio.sleep(0)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            logger.exception("commands")
            self.end(f"{type(error).__name__}: {error}", code_of(error))

    def _slice(self) -> None:
        """Apply what is there, up to a bound in time, and push its effects together: one at a time when idle."""
        backlog, monotonic, is_reading = self.backlog, self.host_clock.monotonic, self.engine.is_reading
        began, count, timestamp = monotonic(), 0, 0
        ends_at = began + _SLICE_SECONDS
        with self.effects:
            while backlog and monotonic() < ends_at:
                waiting = backlog.take()
                number, read_number, records = waiting.partition, waiting.read_number, waiting.records
                while records:
                    # Revoked, read again, or without its store since the last record: the rest comes again.
                    if not is_reading(number, read_number):
                        records.clear()
                        break
                    record = records.popleft()
                    self._command(record)
                    count, timestamp = count + 1, record.timestamp
                    if monotonic() >= ends_at:
                        break
                backlog.put_back(waiting)
        if count:
            self.work.note(count, monotonic() - began, timestamp)

    def _command(self, record: Record) -> None:
        if self.stores.revoking:
            return
        try:
            self.engine.on_command(record)
            number, partition = record.partition, self.engine.partitions.get(record.partition)
            is_full = partition is not None and len(partition.pending) >= self.settings.pending_records_max
            if is_full and number not in self._paused:
                self._paused.add(number)
                self.reader.pause(number)
        except DamagedStoreError as error:
            self._repair(error, self.engine.lose(error.partition))
        except EngineError as error:
            self.end(str(error))
        except Exception as error:
            logger.exception("offset %d", record.offset, extra={"partition": record.partition})
            self.end(f"{type(error).__name__}: {error}", code_of(error))

    async def query(self, record: Record) -> None:
        """Answer one record of the queries topic."""
        if self.stores.revoking:
            return  # The next owner reads it, and has the committed state.
        begun = False
        try:
            for _ in self.engine.on_query(record, self.clock.now()):
                begun = True
                for _ in range(_ROUNDS_BETWEEN):
                    await asyncio.sleep(0)  # Commands pass between the parts of a large answer.
            if self.engine.flushes:
                self.committer.want()
        except DamagedStoreError as error:
            self._repair(error, self.engine.lose(error.partition))
            if not begun:
                await self.query(record)  # It waits for the partition's restore.
        except Exception as error:
            logger.exception("a query at offset %d", record.offset, extra={"partition": record.partition})
            self.end(f"{type(error).__name__}: {error}", code_of(error))

    # --- background -------------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Do timers, delivery reports and waits, for as long as the process lives."""
        try:
            while True:
                self.rounds += 1
                self.came_round_at = self.host_clock.monotonic()
                try:
                    self._work(self.clock.now())
                except DamagedStoreError as error:
                    self._repair(error, self.engine.lose(error.partition))
                self.deliveries.take_undelivered()
                self.deliveries.relieve()
                if self.unknown_clients.is_needed:
                    self.background.spawn(self.unknown_clients.search())
                if self.engine.changed_count >= self.settings.commit_records_max:
                    self.committer.want()
                await asyncio.sleep(_TICK_SECONDS)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            logger.exception("timers")
            self.end(f"{type(error).__name__}: {error}", code_of(error))

    def _work(self, now: int) -> None:
        with self.effects:
            self.engine.go_on(now)
            self._resume_paused()
            if self.clock.sampled and not self.deliveries.is_congested:
                self.engine.fire_timers(now)
            self.engine.end_waits(now)

    def _resume_paused(self) -> None:
        for number in list(self._paused):
            partition = self.engine.partitions.get(number)
            if partition is None or not partition.pending:
                self._resume(number)

    async def commit_regularly(self) -> None:
        """Commit, for as long as the process lives."""
        while True:
            for damaged in await self.committer.next():
                self._repair(*damaged)
