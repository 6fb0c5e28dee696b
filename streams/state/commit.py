"""Commit of state and log position, in one transaction.

    0  snapshot   in one piece, with no await: the changed records and the position of each partition (`engine.loop`)
    1  flush      every effect sent so far is acknowledged, every delivery report looked at
    2  transact   one transaction: the records to the changelog, the positions to the group (KIP-98, KIP-447)
    3  write      one RocksDB batch a partition: the same records, and the changelog's offset

A failure in 1 or 2 ends the process: RocksDB is as of the commit before, the transaction is aborted by the broker or by
the next owner, and the same commands are read again. A failure in 3 concerns that partition alone: all records are in
the changelog, from which its store is restored.
"""

from __future__ import annotations

import contextlib
import logging
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from backbeat.schemas.kafka.broker_log import OUTAGES, BrokerLog
from backbeat.schemas.kafka.brokers import COORDINATOR_MOVES
from backbeat.schemas.kafka.security import CONNECT_AT_ONCE, connection
from backbeat.schemas.kafka.topics import COMMANDS, QUERIES, STATE
from backbeat.streams.ports.deadline import Deadline
from backbeat.streams.ports.host_clock import HostClock
from backbeat.streams.ports.state import ChangelogPosition, PartitionState, Snapshot
from backbeat.streams.state.store import host_now

logger = logging.getLogger(__name__)

#: 0 would mean no wait at all.
_CALL_SECONDS_MIN = 0.1
_FULL_POLL_SECONDS = 0.05


class CommitError(Exception):
    """A commit failed, or its outcome is unknown: the process must end."""


class Member(NamedTuple):
    """The group membership that an assignment came with. Commits use it and no other."""

    group_id: str
    instance_id: str
    generation: int
    member_id: str

    def metadata(self) -> bytes:
        """The group metadata as librdkafka serialises it in `Consumer.consumer_group_metadata()`."""
        return b"".join(
            (
                b"CGMDv2:",
                struct.pack("<i", self.generation),
                self.group_id.encode() + b"\0",
                self.member_id.encode() + b"\0",
                b"\0",
                self.instance_id.encode() + b"\0",
            )
        )


class Written(NamedTuple):
    """The end of a partition's part of a transaction."""

    next_offset: int  #: of the changelog


class Transaction(Protocol):
    """A transactional producer. CommitError: the process must end."""

    def run(self, snapshots: Sequence[Snapshot], member: Member, deadline: Deadline) -> dict[int, Written]:
        """Write the records and commit the positions, atomically, by the deadline."""


class TransactionalProducer(Protocol):
    """Port of the transaction: a transactional producer, as librdkafka has it."""

    def list_topics(self, topic: str, timeout: float, /) -> object:
        """Ask the brokers for a topic: they are connected to then."""

    def init_transactions(self, timeout: float, /) -> None:
        """Fence an earlier producer with this id, and abort its open transaction."""

    def begin_transaction(self) -> None:
        """Begin a transaction."""

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        *,
        on_delivery: Callable[[KafkaError | None, Message], None] | None = None,
    ) -> None:
        """Queue a record. BufferError: the queue is full."""

    def poll(self, timeout: float, /) -> int:
        """Serve delivery reports."""

    def flush(self, timeout: float, /) -> int:
        """Wait until the queue is empty; returns the count of records that are left."""

    def send_offsets_to_transaction(
        self, positions: list[TopicPartition], group_metadata: bytes, timeout: float, /
    ) -> None:
        """Commit the group's positions with the transaction."""

    def commit_transaction(self, timeout: float, /) -> None:
        """Commit the transaction."""

    def abort_transaction(self, timeout: float, /) -> None:
        """Abort the transaction."""


class KafkaTransaction:
    """The transactional producer of this process."""

    def __init__(
        self,
        bootstrap_servers: str,
        transactional_id: str,
        transaction_timeout_seconds: float,
        sample: Callable[[int], None] = lambda _: None,
        was_away: Callable[[float], bool] = lambda _: False,
        *,
        make_producer: Callable[[dict[str, Any]], TransactionalProducer] = Producer,
    ) -> None:
        """`sample`: called with a record's timestamp as soon as its acknowledgement is seen.

        `was_away`: true when the brokers were away since a time; deadlines then begin anew: ending would not help.
        """
        self._sample = sample
        self._was_away = was_away
        self._written: dict[int, Written] = {}
        self._error: str | None = None
        self._producer = make_producer(
            {
                **connection(bootstrap_servers),
                **CONNECT_AT_ONCE,
                "client.id": transactional_id,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": int(transaction_timeout_seconds * 1000),
                "linger.ms": 5,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 1_000_000,
                "message.max.bytes": 4 * 1024 * 1024,
                "logger": BrokerLog(logger),
            }
        )

    def init(self, seconds: float) -> None:
        """Fence an earlier process with this id, and abort its open transaction. Before joining the group."""
        # Without a connection the library looks for the coordinator half a second later. Brokers that do not answer
        # are told of below.
        with contextlib.suppress(KafkaException):
            self._producer.list_topics(STATE, seconds)
        while True:
            try:
                self._producer.init_transactions(seconds)
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                if not reason.retriable() or reason.fatal():
                    raise CommitError(
                        f"the transactions of the process before cannot be ended: {reason.str()}"
                    ) from error
                OUTAGES.tell(logger, f"the transactions of the process before cannot be ended yet, {reason.str()}")
            else:
                return

    def run(self, snapshots: Sequence[Snapshot], member: Member, deadline: Deadline) -> dict[int, Written]:
        """Write the records and commit the positions, atomically, by the deadline."""
        try:
            while not self._fill(snapshots, member, deadline):
                pass
            self._until(deadline, self._producer.commit_transaction)
        except (KafkaException, SystemError) as error:
            # A delivery report during the library's exception becomes a SystemError, with the exception as its cause.
            reason = error.__cause__ if isinstance(error, SystemError) else error
            if not isinstance(reason, KafkaException):
                raise
            raise CommitError(reason.args[0].str()) from error
        if self._error is not None:
            raise CommitError(self._error)
        return self._written

    def _fill(self, snapshots: Sequence[Snapshot], member: Member, deadline: Deadline) -> bool:
        """Put records and positions into a new transaction. False: it was aborted, and nothing came of it."""
        self._written = {}
        self._error = None
        self._producer.begin_transaction()
        for snapshot in snapshots:
            self._produce(snapshot, deadline)
        # The records first, then the group's leave: once the group has accepted the positions, the next owner of a
        # partition must find every record of this transaction in the log, and wait for its end.
        while self._producer.flush(max(_CALL_SECONDS_MIN, deadline.left)):
            if self._is_over(deadline):
                seconds = deadline.given_seconds
                raise CommitError(f"the changelog's records are not acknowledged after {seconds:.0f} s")
        positions = [TopicPartition(COMMANDS, item.partition, item.position) for item in snapshots]
        positions += [
            TopicPartition(QUERIES, item.partition, item.query_position)
            for item in snapshots
            if item.query_position >= 0
        ]
        try:
            # The library may ignore the timeout while a coordinator is away: then the watchdog ends the process
            # (`process.watch`).
            self._until(deadline, partial(self._producer.send_offsets_to_transaction, positions, member.metadata()))
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.code() not in COORDINATOR_MOVES or self._is_over(deadline):
                raise
            # The library gives the transaction up at the answer of a coordinator that has just started. The group did
            # not take the positions, and the membership stands: the same again is what a new process would do.
            logger.warning("the commit begins anew: %s", reason.str())
            self._until(deadline, self._producer.abort_transaction)
            return False
        return True

    def _produce(self, snapshot: Snapshot, deadline: Deadline) -> None:
        *records, meta = snapshot.records
        for key, value in records:
            self._send(partial(self._producer.produce, STATE, value, key, snapshot.partition), deadline)
        # The meta record comes last: its report says where the partition's part of the transaction ends.
        key, value = meta
        send = partial(self._producer.produce, STATE, value, key, snapshot.partition, on_delivery=self._reported)
        self._send(send, deadline)

    def _send(self, produce: Callable[[], None], deadline: Deadline) -> None:
        """Produce a record; wait while the library's queue is full."""
        while True:
            try:
                produce()
            except BufferError:
                if self._is_over(deadline):
                    seconds = deadline.given_seconds
                    raise CommitError(f"the changelog's records are not taken after {seconds:.0f} s") from None
                self._producer.poll(_FULL_POLL_SECONDS)
            else:
                return

    def _until(self, deadline: Deadline, call: Callable[[float], object]) -> None:
        """Call with the remaining seconds; retry after transient errors, until the deadline."""
        while True:
            try:
                call(self._seconds_left(deadline))
            except KafkaException as error:
                if not _may_pass(error.args[0]) or self._is_over(deadline):
                    raise
            else:
                return

    def _seconds_left(self, deadline: Deadline) -> float:
        return _CALL_SECONDS_MIN if self._is_over(deadline) else max(_CALL_SECONDS_MIN, deadline.left)

    def _is_over(self, deadline: Deadline) -> bool:
        if not deadline.is_over:
            return False
        if self._was_away(deadline.began_at):
            deadline.renew()
            return False
        return True

    def _reported(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._error = str(error)
            return
        offset, partition = message.offset(), message.partition()
        assert offset is not None
        assert partition is not None
        self._written[partition] = Written(offset + 1)
        # At once: the rest of the commit may take seconds, by which timers would be late.
        self._sample(message.timestamp()[1])


def _may_pass(error: KafkaError) -> bool:
    """True for transient errors. The library does not call those of a coordinator that has just started retriable."""
    return bool(error.retriable()) or (error.code() in COORDINATOR_MOVES and not error.txn_requires_abort())


def commit(
    snapshots: Sequence[Snapshot],
    stores: dict[int, PartitionState],
    member: Member,
    deadline: Deadline,
    *,
    flush: Callable[[Deadline], None],
    transaction: Transaction,
    state_topic_id: str,
    host_clock: HostClock = time,
    passed: Callable[[str], None] = lambda _: None,
    write: Callable[[PartitionState, Snapshot, ChangelogPosition], None] = lambda store, *arguments: store.write(
        *arguments
    ),
) -> dict[int, Written]:
    """Steps 1 to 3 for one set of snapshots, all of the member's epoch. Blocks; raises where the process must end.

    One deadline for 1 and 2 together: on a rebalance there is no more time than the group waits.

    `flush` returns when every sent effect, or the command in its place, is acknowledged. `passed` is called with the
    name of each finished step. `write` is step 3 for one partition.
    """
    flush(deadline)
    passed("flush")
    written = transaction.run(snapshots, member, deadline)
    passed("transact")
    for snapshot in snapshots:
        part = written.get(snapshot.partition)
        if part is None:
            raise CommitError(f"no report of partition {snapshot.partition} came with the transaction")
        write(
            stores[snapshot.partition],
            snapshot,
            ChangelogPosition(state_topic_id, part.next_offset, host_now(host_clock)),
        )
    passed("write")
    return written
