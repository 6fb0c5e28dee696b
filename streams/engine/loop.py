"""The engine's loop: one record of the log in, its effects out. No Faust, no asyncio, no clock of its own.

`faust_app` feeds it from Kafka, the simulator from a fake log; both run this code. One thread calls every method.
What ends the process (`StoreError`, `CommitError`, `OutboxError`, `EngineError`) is raised, never handled here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

import msgspec

from backbeat.schemas import codec
from backbeat.schemas.kafka.topics import COMMANDS, HISTORY
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import AnyCommand, DeliveryFailed, route
from backbeat.schemas.messages.queries import AnyQuery, Flush, WaitNode
from backbeat.schemas.messages.replies import Position
from backbeat.schemas.messages.values import Source
from backbeat.streams.core import apply, queries
from backbeat.streams.core import effects as fx
from backbeat.streams.core.step import Refused
from backbeat.streams.engine.defects import NOT_OF_A_RECORD, defect_text, failure_of, refused, unreadable_text
from backbeat.streams.engine.due_timers import due_records
from backbeat.streams.engine.partition import EngineError, Outbox, Partition, Record
from backbeat.streams.engine.ports import PartitionState, Snapshot
from backbeat.streams.engine.waiting_activities import WaitingActivities
from backbeat.streams.engine.waits import NodeWaits
from backbeat.streams.input.validate import check_command, check_query
from backbeat.streams.observe.counters import EngineCounters
from backbeat.streams.output.dead_letters import put_aside
from backbeat.streams.output.replies import Replies

__all__ = ["Engine", "EngineError", "Partition", "Record"]

logger = logging.getLogger(__name__)


class Engine:
    """All partitions of this process, and what is done with their records."""

    def __init__(
        self,
        *,
        partitions_count: int,
        transactional_id: str,
        outbox: Outbox,
        activities_topic: Callable[[bytes], str | None],
        seek: Callable[[int, int, int], None],
        is_owner: Callable[[], bool],
        sample: Callable[[int], None],
        rules: Callable[[AnyCommand, int, PartitionState], list[fx.Effect]] = apply,
    ) -> None:
        self._partitions_count = partitions_count
        self._transactional_id = transactional_id
        self._outbox = outbox
        #: the topic of a client's activities by its id; null: nobody knows the client yet. It waits for nothing
        self._activities_topic = activities_topic
        self.unknown = WaitingActivities()
        #: has a partition read from an offset on, as the read of this number
        self._seek = seek
        self._reads = 0
        #: whether it is certain that nobody else has the partitions by now (`lease`)
        self._is_owner = is_owner
        #: told the broker's time where a timer has fired before it: the estimate was ahead
        self._sample = sample
        self._rules = rules
        self.partitions: dict[int, Partition] = {}
        self._waits = NodeWaits()
        self.flushes: list[Flush] = []
        self.counters = EngineCounters()
        self.counts = self.counters.counts
        self._replies = Replies(outbox, self.counts)

    # --- assignment --------------------------------------------------------------------------------------------------

    def assign(self, numbers: Iterable[int]) -> None:
        """A new assignment: nothing of an earlier one is left."""
        assert not self.partitions, "partitions are dropped before others come"
        self.partitions = {number: Partition(number) for number in numbers}

    def drop(self) -> None:
        """The assignment is over: forget everything that was not committed."""
        for partition in self.partitions.values():
            if partition.store is not None:
                partition.store.close()
        self.partitions = {}
        self._waits = NodeWaits()
        self.unknown.clear()
        self.flushes = []

    def ready(self, number: int, store: PartitionState, caught_up_at: int) -> None:
        """The partition is restored: begin with what came meanwhile."""
        partition = self.partitions[number]
        partition.caught_up_at = caught_up_at
        store.meta.transactional_id = self._transactional_id
        partition.store = store
        self.read_again(number)

    def lose(self, number: int) -> PartitionState | None:
        """Take a partition's store away, with all that is not committed; null: it has none. The caller closes it."""
        if (partition := self.partitions.get(number)) is None or partition.store is None:
            return None
        partition.waiting_queries.extend(self._waits.take(number, self._partitions_count))
        return partition.lose_store()

    def caught_up(self, partition: Partition, position: int) -> None:
        """Nothing but control records lies behind this position: what waits for the end need not wait for them."""
        partition.caught_up_at = min(partition.caught_up_at, position)
        self._answer_waiting(partition)

    def read_again(self, number: int) -> None:
        """Have the partition read from its position on."""
        partition = self.partitions[number]
        assert partition.store is not None
        self._reads += 1
        partition.read_number = self._reads
        self._seek(number, partition.store.meta.next_offset, partition.read_number)

    def is_reading(self, number: int, read_number: int) -> bool:
        """Whether what was read for a partition by this read is to be taken.

        A read begins at the partition's position and goes on without a hole. So what it lacks are markers of
        somebody's transactions, which take offsets; what an earlier read brings late may lack commands.
        """
        partition = self.partitions.get(number)
        return partition is not None and partition.read_number == read_number

    # --- commands ----------------------------------------------------------------------------------------------------

    def on_command(self, record: Record) -> None:
        """One record of the commands topic."""
        partition = self.partitions.get(record.partition)
        if partition is None:
            return  # Of an earlier assignment: its owner reads it.
        partition.pending.append(record)
        self._go_on(partition)

    def go_on(self) -> None:
        """Do what had to wait, if it has to wait no more."""
        for partition in self.partitions.values():
            if partition.pending or partition.waiting_queries:
                self._go_on(partition)

    def _go_on(self, partition: Partition) -> None:
        store = partition.store
        while store is not None and partition.pending and self._is_owner():
            self._process(store, partition.pending.popleft())
        if partition.waiting_queries:
            self._answer_waiting(partition)

    def _process(self, store: PartitionState, record: Record) -> None:
        meta = store.meta
        if record.offset < meta.next_offset:
            self.counts["repeats"] += 1
            return
        self.counts["commands"] += 1
        try:
            command = codec.decode_command(record.value)
        except NOT_OF_A_RECORD:
            raise
        except Exception as error:  # noqa: BLE001 - the bytes are somebody else's: one record holds up no partition
            self.counts["unreadable"] += 1
            self._dead_letter(record, unreadable_text(error))
        else:
            effects = self._apply(record, command, store)
            self.counters.note(command, effects, store)
            self._perform(record, command, effects)
        meta.next_offset = record.offset + 1

    def _apply(self, record: Record, command: AnyCommand, store: PartitionState) -> list[fx.Effect]:
        try:
            check_command(command, record.partition, record.offset, self._partitions_count)
            return self._rules(command, record.timestamp, store)
        except Refused as refusal:
            return refused(command, refusal.rejection)
        except NOT_OF_A_RECORD:
            raise
        except Exception as defect:  # noqa: BLE001 - it is logged below
            # The step was dropped whole. The record is kept for whoever mends the defect, and the node shows it.
            self._note_defect(record, command, defect)
        failure = failure_of(command)
        if failure is None:
            return []
        try:
            return self._rules(failure, record.timestamp, store)
        except NOT_OF_A_RECORD:
            raise
        except Exception as defect:  # noqa: BLE001 - as above
            # What showed the first defect meets one itself: the dead letter is all that there is of them.
            self._note_defect(record, failure, defect)
            return []

    def _note_defect(self, record: Record, command: AnyCommand, defect: Exception) -> None:
        self.counts["defects"] += 1
        about = {"partition": record.partition, "tid": command.tid}
        logger.error("offset %d: %s failed", record.offset, type(command).__name__, extra=about, exc_info=defect)
        self._dead_letter(record, f"defect: {defect_text(defect)}")

    # --- effects -----------------------------------------------------------------------------------------------------

    def _perform(self, record: Record, command: AnyCommand, effects: list[fx.Effect]) -> None:
        sends = 0
        for effect in effects:
            match effect:
                case fx.Dispatch() | fx.Notify():
                    self._send_activity(effect)
                case fx.StatusChanged():
                    value = codec.encode_status_changes(effect.record(command.tid))
                    self._outbox.send(HISTORY, value, key=effect.workflow_id, partition=record.partition)
                    if self._waits:
                        for query in self._waits.wake(effect):
                            self._answer_wait(query)
                case fx.Send():
                    self._send_command(effect.command, Source(record.partition, record.offset, sends))
                    sends += 1
                case fx.Broadcast():
                    self._broadcast(effect.command, Source(record.partition, record.offset, sends))
                    sends += 1
                case fx.Reply():
                    self._replies.send(effect.to, effect.answer, effect.tid)
                case fx.DeadLetter():
                    self._dead_letter(record, f"{effect.rejection.reason}: {effect.rejection.message}")
                case fx.FiredEarly():
                    self._sample(record.timestamp)
                case fx.Ignored():
                    pass

    def _send_activity(self, effect: fx.Dispatch | fx.Notify) -> None:
        topic = self._activities_topic(effect.node.user_id)
        if topic is None or self.unknown.has_of(effect.node.user_id):
            self.unknown.add(effect)
        else:
            self._outbox.send(topic, codec.encode_activity(effect.record()), key=effect.node.id)

    def send_unknown(self, count: int) -> None:
        """Send the oldest activities of clients that nobody knew: everything was read that was there since.

        Whoever is unknown still will not be known: no such client.
        """
        for effect in self.unknown.take(count):
            node = effect.node
            topic = self._activities_topic(node.user_id)
            if topic is not None:
                self._outbox.send(topic, codec.encode_activity(effect.record()), key=node.id)
            elif isinstance(effect, fx.Dispatch):
                self.undeliverable(node.id, node.attempt, f"No client has the id {node.user_id.hex()}")

    def undeliverable(self, node_id: bytes, attempt: int, why: str) -> None:
        """An activity can never be brought to its client: a client error, by a command like any other."""
        response = msgspec.json.encode({"error": {"message": why}})
        identity = ids.command_id(b"undeliverable", node_id, attempt.to_bytes(8, "big"))
        failed = DeliveryFailed(id=identity, node_id=node_id, attempt=attempt, response=response)
        self._send_command(failed, None)

    def _send_command(self, command: AnyCommand, source: Source | None) -> None:
        identity = route(command)
        assert identity is not None, "no command of the engine goes to every partition"
        self._outbox.send(
            COMMANDS,
            codec.encode_command(command, source),
            key=identity,
            partition=ids.partition_of(identity, self._partitions_count),
        )

    def _broadcast(self, command: AnyCommand, source: Source) -> None:
        value = codec.encode_command(command, source)
        for number in range(self._partitions_count):
            self._outbox.send(COMMANDS, value, key=command.id, partition=number)

    def _dead_letter(self, record: Record, reason: str) -> None:
        put_aside(self._outbox, record, COMMANDS, reason)

    # --- timers -----------------------------------------------------------------------------------------------------

    def fire_timers(self, now: int) -> int:
        """Send a command for each timer that is due at `now` (the broker's time, estimated); how many there were."""
        before = self.counters.timers_fired
        for partition in self.partitions.values():
            if partition.store is not None and partition.store.timers.any_due(now):
                for key, value in due_records(partition.store, now):
                    self._outbox.send(COMMANDS, value, key=key, partition=partition.number)
                    self.counters.timers_fired += 1
        return self.counters.timers_fired - before

    # --- queries ----------------------------------------------------------------------------------------------------

    def on_query(self, record: Record, now: int) -> Iterator[None]:
        """One record of the queries topic. Yields between parts, so that commands can pass a large tree."""
        partition = self.partitions.get(record.partition)
        if partition is None:
            return
        partition.query_position = record.offset + 1
        try:
            query = codec.decode_query(record.value)
        except NOT_OF_A_RECORD:
            raise
        except Exception as error:  # noqa: BLE001 - as of commands
            self.counts["queries_bad"] += 1
            logger.warning("a query that cannot be read (%s), partition %d", error, record.partition)
            return
        if query.deadline < now:
            self.counts["queries_late"] += 1
            return
        try:
            check_query(query, record.partition, self._partitions_count)
        except Refused as refusal:
            self.counts["queries_bad"] += 1
            self._replies.refuse(query, refusal.rejection)
            return
        if not (partition.caught_up and self._is_owner()):
            partition.waiting_queries.append(query)
            return
        yield from self._answer(partition, query)

    def _answer_waiting(self, partition: Partition) -> None:
        while partition.waiting_queries and partition.caught_up and self._is_owner():
            for _ in self._answer(partition, partition.waiting_queries.popleft()):
                pass

    def _answer(self, partition: Partition, query: AnyQuery) -> Iterator[None]:
        store = partition.store
        assert store is not None
        self.counts["queries"] += 1
        if isinstance(query, Flush):
            self.flushes.append(query)
            return
        if isinstance(query, WaitNode) and self._must_wait(store, query):
            self._waits.add(query)
            return
        for _ in self._replies.answer(query, store):
            yield
            if self.partitions.get(partition.number) is not partition or partition.store is not store:
                return  # It was taken away between two parts: its next owner is asked again.

    def _must_wait(self, store: PartitionState, query: WaitNode) -> bool:
        try:
            known = queries.find_node(store, query.node_id, query.user_id) is not None
            return known and not queries.is_final(store, query.node_id)
        except NOT_OF_A_RECORD:
            raise
        except Exception:
            # What is wrong with the node shows where it is read for the answer.
            logger.exception("a wait for node %s", query.node_id.hex(), extra={"tid": query.tid})
            return False

    def _answer_wait(self, query: WaitNode) -> None:
        partition = self.partitions[ids.partition_of(query.node_id, self._partitions_count)]
        assert partition.store is not None
        for _ in self._replies.answer(query, partition.store):
            pass

    def end_waits(self, now: int) -> None:
        """Answer the waits whose deadline has come, with the node as it is."""
        if not self._is_owner():
            return
        for query in self._waits.end(now):
            self._answer_wait(query)

    # --- commit ----------------------------------------------------------------------------------------------------

    @property
    def changed_count(self) -> int:
        """Records that wait for the next commit."""
        return sum(each.store.changed_count for each in self.partitions.values() if each.store is not None)

    def snapshot(self, *, touch: bool = False) -> tuple[list[Snapshot], dict[int, PartitionState]]:
        """Step 0 of a commit: the changes of every partition that has some; with `touch`, of one at least.

        A touch also takes the partitions where nothing but queries was read.
        """
        stores = {number: each.store for number, each in self.partitions.items() if each.store is not None}
        taken: list[Snapshot] = []
        for number, store in stores.items():
            partition = self.partitions[number]
            queried = partition.query_position > partition.query_position_taken
            if store.is_dirty() or (touch and (queried or (not taken and number == max(stores)))):
                partition.query_position_taken = partition.query_position
                taken.append(store.snapshot())
                taken[-1].query_position = partition.query_position
        return taken, stores

    def answer_flushes(self, flushes: list[Flush]) -> None:
        """Their commit is done: say how far the changelog has to be read."""
        if not self._is_owner():
            return  # Where there was nothing to commit, somebody else may have committed more: they ask again.
        for query in flushes:
            partition = self.partitions.get(query.partition)
            if partition is not None and partition.store is not None and partition.store.origin is not None:
                position = Position(query.partition, partition.store.origin.next_offset)
                self._replies.send(query.reply_to, position, query.tid)
