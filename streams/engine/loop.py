"""The engine's loop: one record of the log in, its effects out. No Faust, no asyncio, no clock of its own.

`faust_app` feeds it from Kafka, the simulator from a fake log; both run this code. One thread calls every method.
Errors that end the process (`StoreError`, `CommitError`, `OutboxError`, `EngineError`) are raised, never handled here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

from backbeat.schemas import codec
from backbeat.schemas.kafka.topics import COMMANDS, HISTORY
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import AnyCommand
from backbeat.schemas.messages.queries import AnyQuery, Flush, GetEngine, WaitNode
from backbeat.schemas.messages.replies import Position
from backbeat.schemas.messages.values import Source
from backbeat.streams.compiled import mypyc_attr
from backbeat.streams.core import apply, queries
from backbeat.streams.core import effects as fx
from backbeat.streams.core.step import Refused
from backbeat.streams.engine.defects import failure_of, refused, unreadable_text
from backbeat.streams.engine.due_timers import due_records
from backbeat.streams.engine.partition import Partition
from backbeat.streams.engine.view import Describe, plain_view
from backbeat.streams.engine.waiting_activities import WaitingActivities
from backbeat.streams.engine.waits import NodeWaits
from backbeat.streams.input.validate import check_command, check_query
from backbeat.streams.observe.counters import EngineCounters
from backbeat.streams.output.commands import CommandSender
from backbeat.streams.output.dead_letters import put_aside
from backbeat.streams.output.replies import Replies
from backbeat.streams.ports.errors import NOT_OF_A_RECORD, defect_text
from backbeat.streams.ports.log import Outbox, Record
from backbeat.streams.ports.state import PartitionState, Snapshot

logger = logging.getLogger(__name__)

#: Queries that waited and are answered in one go: commands, timers and other queries get their turn.
_ANSWERS_AT_ONCE = 20

#: `core.apply`, or what stands around it.
Rules = Callable[[AnyCommand, int, PartitionState], list[fx.Effect]]


@mypyc_attr(allow_interpreted_subclasses=True)
class Engine:
    """The partitions of this process: applies their commands, sends the effects, answers queries."""

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
        rules: Rules = apply,
        describe: Describe = plain_view,
    ) -> None:
        self._partitions_count = partitions_count
        self._transactional_id = transactional_id
        self._outbox = outbox
        self._commands = CommandSender(outbox, partitions_count)
        self._send_command, self._broadcast = self._commands.send, self._commands.broadcast
        #: the activities topic of a client by its id; null: the client is not known yet. Does not block
        self._activities_topic = activities_topic
        self.unknown = WaitingActivities()
        #: starts a read of a partition from an offset on; its records carry the read's number
        self._seek = seek
        self._reads = 0
        #: true: no other process can have the partitions (`lease`)
        self._is_owner = is_owner
        #: called with the broker's time where a timer has fired early: the estimate was ahead
        self._sample = sample
        self._rules = rules
        #: tells of this engine and a partition of it
        self._describe = describe
        self.partitions: dict[int, Partition] = {}
        self._waits = NodeWaits()
        self.flushes: list[Flush] = []
        self.counters = EngineCounters()
        self.counts = self.counters.counts
        self._replies = Replies(outbox, self.counts)

    # --- assignment --------------------------------------------------------------------------------------------------

    def assign(self, numbers: Iterable[int]) -> None:
        """Begin an assignment; the earlier one was dropped."""
        assert not self.partitions, "partitions are dropped before others come"
        self.partitions = {number: Partition(number) for number in numbers}

    def drop(self) -> None:
        """End the assignment: close the stores; uncommitted changes are dropped."""
        for partition in self.partitions.values():
            if partition.store is not None:
                partition.store.close()
        self.partitions = {}
        self._waits = NodeWaits()
        self.unknown.clear()
        self.flushes = []

    def ready(self, number: int, store: PartitionState, caught_up_at: int) -> None:
        """Begin with a restored partition. `caught_up_at`: the end of its commands, before which queries wait."""
        partition = self.partitions[number]
        partition.caught_up_at = caught_up_at
        store.meta.transactional_id = self._transactional_id
        partition.store = store
        self.read_again(number)

    def lose(self, number: int) -> PartitionState | None:
        """Detach a partition's store, which the caller closes; null: it has none. Uncommitted changes are dropped."""
        if (partition := self.partitions.get(number)) is None or partition.store is None:
            return None
        partition.waiting_queries.extend(self._waits.take(number, self._partitions_count))
        return partition.lose_store()

    def caught_up(self, partition: Partition, position: int) -> None:
        """Let queries be answered from this position on: only control records lie behind it."""
        partition.caught_up_at = min(partition.caught_up_at, position)

    def read_again(self, number: int) -> None:
        """Start a new read of the partition, from its position on."""
        partition = self.partitions[number]
        assert partition.store is not None
        self._reads += 1
        partition.read_number = self._reads
        self._seek(number, partition.store.meta.next_offset, partition.read_number)

    def is_reading(self, number: int, read_number: int) -> bool:
        """True for the partition's current read; records of an earlier one are dropped.

        A read begins at the partition's position and lacks nothing but transaction markers, which take offsets; late
        records of an earlier read may lack commands.
        """
        partition = self.partitions.get(number)
        return partition is not None and partition.read_number == read_number

    # --- commands ----------------------------------------------------------------------------------------------------

    def on_command(self, record: Record) -> None:
        """Take one record of the commands topic."""
        partition = self.partitions.get(record.partition)
        if partition is None:
            return  # Of an earlier assignment: its new owner reads it.
        partition.pending.append(record)
        self._apply_pending(partition)

    def go_on(self, now: int) -> None:
        """Go on with pending commands and some of the waiting queries, where possible now."""
        answers_left = _ANSWERS_AT_ONCE
        for partition in self.partitions.values():
            if partition.pending:
                self._apply_pending(partition)
            if partition.waiting_queries:
                answers_left -= self._answer_waiting(partition, now, answers_left)

    def _apply_pending(self, partition: Partition) -> None:
        store = partition.store
        while store is not None and partition.pending and self._is_owner():
            self._process(store, partition.pending.popleft())

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
        except Exception as error:  # noqa: BLE001 - the bytes are a client's: one record holds up no partition
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
            # The transaction was dropped. The dead letter has the record for the fix, and the node shows the defect.
            self._note_defect(record, command, defect)
        failure = failure_of(command)
        if failure is None:
            return []
        try:
            return self._rules(failure, record.timestamp, store)
        except NOT_OF_A_RECORD:
            raise
        except Exception as defect:  # noqa: BLE001 - as above
            # The command that shows the first defect has one itself: both are in the dead letters only.
            self._note_defect(record, failure, defect)
            return []

    def _note_defect(self, record: Record, command: AnyCommand, defect: Exception) -> None:
        self.counts["defects"] += 1
        log_fields = {"partition": record.partition, "tid": command.tid}
        logger.error("offset %d: %s failed", record.offset, type(command).__name__, extra=log_fields, exc_info=defect)
        self._dead_letter(record, f"defect: {defect_text(defect)}")

    # --- effects -----------------------------------------------------------------------------------------------------

    def _perform(self, record: Record, command: AnyCommand, effects: list[fx.Effect]) -> None:
        sends = 0
        for effect in effects:
            # Not by isinstance: on a Struct it takes 0.1 µs.
            if type(effect) is fx.StatusChanged:
                for changes in effect.records(command.tid):
                    value = codec.encode_status_changes(changes)
                    self._outbox.send(HISTORY, value, key=effect.workflow_id, partition=record.partition)
                if self._waits:
                    for query in self._waits.wake(effect):
                        self._answer_wait(query)
            elif type(effect) is fx.Dispatch or type(effect) is fx.Notify:
                self._send_activity(effect)
            elif type(effect) is fx.Send:
                self._send_command(effect.command, Source(record.partition, record.offset, sends))
                sends += 1
            elif type(effect) is fx.Broadcast:
                self._broadcast(effect.command, Source(record.partition, record.offset, sends))
                sends += 1
            elif type(effect) is fx.Reply:
                self._replies.send(effect.to, effect.answer, effect.tid)
            elif type(effect) is fx.DeadLetter:
                self._dead_letter(record, f"{effect.rejection.reason}: {effect.rejection.message}")
            elif type(effect) is fx.FiredEarly:
                self._sample(record.timestamp)

    def _send_activity(self, effect: fx.Dispatch | fx.Notify) -> None:
        topic = self._activities_topic(effect.node.user_id)
        if topic is None or self.unknown.has_of(effect.node.user_id):
            self.unknown.add(effect)
        else:
            self._outbox.send(topic, codec.encode_activity(effect.record()), key=effect.key)

    def send_unknown(self, count: int) -> None:
        """Send the oldest activities of unknown clients, after the registry was read to its end.

        A client that is still unknown does not exist: its activities are undeliverable.
        """
        for effect in self.unknown.take(count):
            node = effect.node
            topic = self._activities_topic(node.user_id)
            if topic is not None:
                self._outbox.send(topic, codec.encode_activity(effect.record()), key=effect.key)
            elif isinstance(effect, fx.Dispatch):
                self._commands.delivery_failed(node.id, node.attempt, f"No client has the id {node.user_id.hex()}")

    def _dead_letter(self, record: Record, reason: str) -> None:
        put_aside(self._outbox, record, COMMANDS, reason)

    # --- timers -----------------------------------------------------------------------------------------------------

    def fire_timers(self, now: int) -> int:
        """Send a command for each timer that is due at `now` (the broker's time, estimated). Returns their count."""
        fired_before = self.counters.timers_fired
        for partition in self.partitions.values():
            if partition.store is not None and partition.store.timers.any_due(now):
                for key, value in due_records(partition.store, now):
                    self._outbox.send(COMMANDS, value, key=key, partition=partition.number)
                    self.counters.timers_fired += 1
        return self.counters.timers_fired - fired_before

    # --- queries ----------------------------------------------------------------------------------------------------

    def on_query(self, record: Record, now: int) -> Iterator[None]:
        """Take one record of the queries topic. Yields between parts, so that commands can pass a large tree."""
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
        if isinstance(query, GetEngine):
            # Also while the partition is restored. Where another process may have it, that one answers, or nobody.
            if self._is_owner():
                self.counts["queries"] += 1
                self._replies.send(query.reply_to, self._describe(partition, now), query.tid)
            return
        if not (partition.caught_up and self._is_owner()):
            self.counts["queries_late"] += partition.drop_late(now)
            partition.waiting_queries.append(query)
            return
        yield from self._answer(partition, query)

    def _answer_waiting(self, partition: Partition, now: int, count_max: int) -> int:
        """Answer the oldest waiting queries, and drop those that are late. Returns the count of those answered."""
        count = 0
        while partition.caught_up and self._is_owner():
            self.counts["queries_late"] += partition.drop_late(now)
            if not partition.waiting_queries or count >= count_max:
                break
            for _ in self._answer(partition, partition.waiting_queries.popleft()):
                pass
            count += 1
        return count

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
                return  # Lost between two parts: the client asks the next owner.

    def _must_wait(self, store: PartitionState, query: WaitNode) -> bool:
        try:
            is_visible = queries.find_node(store, query.node_id, query.user_id) is not None
            return is_visible and not queries.is_final(store, query.node_id)
        except NOT_OF_A_RECORD:
            raise
        except Exception:
            # The answer shows the fault when it reads the node.
            logger.exception("a wait for node %s", query.node_id.hex(), extra={"tid": query.tid})
            return False

    def _answer_wait(self, query: WaitNode) -> None:
        partition = self.partitions[ids.partition_of(query.node_id, self._partitions_count)]
        assert partition.store is not None
        for _ in self._replies.answer(query, partition.store):
            pass

    def end_waits(self, now: int) -> None:
        """Answer the waits whose deadline has passed, with the node as it is."""
        if not self._is_owner():
            return
        for query in self._waits.end(now):
            self._answer_wait(query)

    # --- commit ----------------------------------------------------------------------------------------------------

    @property
    def changed_count(self) -> int:
        """Records that wait for the next commit."""
        return sum(item.store.changed_count for item in self.partitions.values() if item.store is not None)

    def snapshot(self, *, touch: bool = False) -> tuple[list[Snapshot], dict[int, PartitionState]]:
        """Step 0 of a commit: snapshots of the changed partitions, and all stores; with `touch`, of one at least.

        A touch includes the partitions where nothing but queries was read.
        """
        stores = {number: item.store for number, item in self.partitions.items() if item.store is not None}
        snapshots: list[Snapshot] = []
        for number, store in stores.items():
            partition = self.partitions[number]
            queried = partition.query_position > partition.query_position_taken
            if store.is_dirty() or (touch and (queried or (not snapshots and number == max(stores)))):
                partition.query_position_taken = partition.query_position
                snapshots.append(store.snapshot())
                snapshots[-1].query_position = partition.query_position
        return snapshots, stores

    def answer_flushes(self, flushes: list[Flush]) -> None:
        """Answer flushes after their commit, with the changelog's position."""
        if not self._is_owner():
            return  # Without a commit, another process may have committed more: the clients ask again.
        for query in flushes:
            partition = self.partitions.get(query.partition)
            if partition is not None and partition.store is not None and partition.store.origin is not None:
                position = Position(query.partition, partition.store.origin.next_offset)
                self._replies.send(query.reply_to, position, query.tid)
