"""Restore of one partition's store to the end of its changelog, before its first command (docs/explanation/engine.md).

The changelog is read as read_committed up to the end that a read_uncommitted reader sees at the start: the end of the
last transaction may come after its records, and a dead owner's open transaction must be waited for, not taken for the
end. Then the meta record is the position, and the commands topic has to agree with it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec

from backbeat.schemas.kafka.broker_log import BrokerLog
from backbeat.schemas.kafka.brokers import reach
from backbeat.schemas.kafka.groups import describe_group
from backbeat.schemas.kafka.security import CONNECT_AT_ONCE, connection
from backbeat.schemas.kafka.topics import COMMANDS, STATE, STATE_DELETE_RETENTION_MS, topic_ids
from backbeat.streams.core.records import Meta
from backbeat.streams.ports.errors import DamagedStoreError, RestoreError, StoreError
from backbeat.streams.ports.host_clock import HostClock
from backbeat.streams.ports.state import ChangelogPosition
from backbeat.streams.ports.transaction_ids import instance_of
from backbeat.streams.state.store import PartitionStore, host_now

logger = logging.getLogger(__name__)

_ENDS: tuple[Any, Any] = (OffsetSpec.earliest(), OffsetSpec.latest())  # type: ignore[no-untyped-call]
_BATCH_RECORDS = 2_000
_ASK_SECONDS = 20.0
_READ_SECONDS = 0.05
#: Time without records after which a read_committed reader looks for an open transaction.
_STUCK_SECONDS = 0.7


class Ends(NamedTuple):
    """First and end offset of a topic's partition."""

    first: int
    end: int


class Changelog(Protocol):
    """Interface of the topics to a restore."""

    state_topic_id: str
    commands_topic_id: str

    def state_ends(self, partition: int) -> Ends:
        """Ends of the changelog, uncommitted records included."""

    def command_ends(self, partition: int) -> Ends:
        """Ends of the commands."""

    def committed_position(self, partition: int) -> int | None:
        """The group's committed offset of the commands; null: it has none."""

    def read(self, partition: int, offset: int) -> tuple[list[tuple[bytes, bytes | None]], int]:
        """The next committed records from an offset on, and the offset after them."""

    def abort_open_transaction(self, transactional_id: str) -> bool:
        """Abort the open transaction of a dead process. False: the process is alive."""

    def close(self) -> None:
        """Release the connections."""


def restore(
    open_store: Callable[[], PartitionStore],
    wipe: Callable[[], None],
    set_aside: Callable[[str], None],
    changelog: Changelog,
    progress: Callable[[int, int, int], None] = lambda *_: None,
    *,
    host_clock: HostClock = time,
) -> PartitionStore:
    """The partition's store as of the end of its changelog. Blocks. RestoreError, StoreError.

    A store that cannot be opened or read is set aside (`set_aside` gets the reason) and made anew. `progress` is called
    with the offset, the end, and the count of records read since the last call; what it raises ends the restore.
    """
    try:
        return _restore(open_store, wipe, changelog, progress, host_clock)
    except DamagedStoreError as error:
        set_aside(error.reason)
    try:
        return _restore(open_store, wipe, changelog, progress, host_clock)
    except DamagedStoreError as error:
        raise StoreError(
            f"{error}, which was made anew just before. What to do: look at the disk, or give another --data-dir"
        ) from error


def _restore(
    open_store: Callable[[], PartitionStore],
    wipe: Callable[[], None],
    changelog: Changelog,
    progress: Callable[[int, int, int], None],
    host_clock: HostClock,
) -> PartitionStore:
    store = open_store()
    partition = store.partition
    try:
        # Before the ends: the records of a committed position are before an end that is read later.
        committed = changelog.committed_position(partition)
        ends = changelog.state_ends(partition)
        stale_reason = _why_stale(store.origin, changelog.state_topic_id, ends, host_now(host_clock))
        if stale_reason is not None:
            _check_not_lost(store, ends)
            logger.warning("partition %d: the local store is wiped: %s", partition, stale_reason)
            store.close()
            wipe()
            store = open_store()
        was_empty = store.origin is None
        _catch_up(store, ends, changelog, progress, host_clock)
        store.restored()
        _check_log(store, changelog, committed, read_whole=was_empty)
    except BaseException:
        store.close()
        raise
    return store


def _why_stale(origin: ChangelogPosition | None, state_topic_id: str, ends: Ends, now: int) -> str | None:
    """The reason why a local store must not be used; null: it may be used."""
    if origin is None:
        return None
    if origin.state_topic_id != state_topic_id:
        return "it is of another changelog topic"
    if not ends.first <= origin.next_offset <= ends.end:
        return f"its offset {origin.next_offset} is outside the changelog ({ends.first} to {ends.end})"
    age_ms = now - origin.written_at
    if age_ms > STATE_DELETE_RETENTION_MS // 2:
        return f"it was left aside for {age_ms / 3_600_000:.0f} h; records deleted meanwhile would come back"
    return None


def _check_not_lost(store: PartitionStore, ends: Ends) -> None:
    """Refuse an empty changelog under a store with records: the state would be lost silently."""
    meta = store.stored_meta()
    if meta is not None and meta.next_offset > 0 and ends.first == ends.end == 0:
        raise RestoreError(
            f"partition {store.partition}: {STATE} is empty, but the store in {store.path} has come to offset "
            f"{meta.next_offset} of {COMMANDS}. Was the topic deleted? Bring it back from its replicas, or, to begin "
            f"anew, delete all backbeat topics and the engines' data directories"
        )


def _catch_up(
    store: PartitionStore,
    ends: Ends,
    changelog: Changelog,
    progress: Callable[[int, int, int], None],
    host_clock: HostClock,
) -> None:
    """Read the changelog from the store's offset to the end seen at the start."""
    position = store.origin.next_offset if store.origin else ends.first
    # Until the end is reached the store keeps its old time: after a crash here it must not look fresh.
    written_at = store.origin.written_at if store.origin else host_now(host_clock)
    last_progress = host_clock.monotonic()
    aborted: set[str] = set()
    progress(position, ends.end, 0)
    while position < ends.end:
        records, reached = changelog.read(store.partition, position)
        if reached > position:
            fresh = reached >= ends.end
            written_at = host_now(host_clock) if fresh else written_at
            store.restore(records, ChangelogPosition(changelog.state_topic_id, reached, written_at))
            position = reached
            progress(position, ends.end, len(records))
            last_progress = host_clock.monotonic()
        elif host_clock.monotonic() - last_progress > _STUCK_SECONDS:
            meta = store.stored_meta()
            owner = meta.transactional_id if meta else ""
            if owner and owner not in aborted and changelog.abort_open_transaction(owner):
                aborted.add(owner)
            progress(position, ends.end, 0)
            last_progress = host_clock.monotonic()


def _check_log(store: PartitionStore, changelog: Changelog, committed: int | None, *, read_whole: bool) -> None:
    """Refuse a log of commands that is not the state's, or does not reach as far.

    `read_whole`: true: all records of the store were read just now.
    """
    partition = store.partition
    meta = store.meta
    ends = changelog.command_ends(partition)
    if store.stored_meta() is None:
        if committed and not read_whole:
            raise DamagedStoreError(partition, f"the store in {store.path} lacks the record of its position")
        if committed:
            raise RestoreError(
                f"partition {partition}: the group has come to offset {committed} of {COMMANDS}, but {STATE}, read "
                f"from its beginning, holds nothing of it. Was the topic deleted? Bring it back from its replicas or "
                f"from a backup, or, to begin anew without any workflow, delete all backbeat topics and the engines' "
                f"data directories"
            )
        store.replace_meta(Meta(topic_id=changelog.commands_topic_id, next_offset=ends.first))
        return
    if meta.topic_id != changelog.commands_topic_id:
        raise RestoreError(
            f"partition {partition}: the state is of another topic {COMMANDS} (id {meta.topic_id}) than the one that "
            f"is there (id {changelog.commands_topic_id}). Was it deleted and made again? State and log must be kept "
            f"or removed together"
        )
    if not ends.first <= meta.next_offset <= ends.end:
        raise RestoreError(
            f"partition {partition}: the state has come to offset {meta.next_offset} of {COMMANDS}, which holds "
            f"{ends.first} to {ends.end}. The log was cut: restore it, or engines would skip or repeat commands"
        )


class KafkaChangelog:
    """The topics of a real Kafka. One per restoring thread; not to be shared."""

    def __init__(self, bootstrap_servers: str, application_id: str, own_transactional_id: str) -> None:
        """`own_transactional_id`: of this process, whose open transaction was aborted when it began."""
        self._bootstrap_servers = bootstrap_servers
        self._application_id = application_id
        self._own_transactional_id = own_transactional_id
        self._admin = reach(bootstrap_servers)
        self.state_topic_id, self.commands_topic_id = topic_ids(self._admin, STATE, COMMANDS)
        self._consumer = Consumer(
            {
                **connection(bootstrap_servers),
                **CONNECT_AT_ONCE,
                "group.id": application_id,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 5,
                # A changelog is read once: records ready beyond the next batches only take memory.
                "queued.min.messages": 2_000,
                "queued.max.messages.kbytes": 4_096,
                "enable.partition.eof": True,
                "logger": BrokerLog(logger),
            }
        )
        # The library looks for an unknown leader once a second, where it has asked for the group's coordinator before.
        self._consumer.list_topics(STATE, _ASK_SECONDS)
        self._reading: tuple[int, int] | None = None
        self._is_heard = False  #: true: a message has come since the partition was assigned

    def state_ends(self, partition: int) -> Ends:
        """Ends of the changelog, uncommitted records included."""
        return self._ends(STATE, partition)

    def command_ends(self, partition: int) -> Ends:
        """Ends of the commands."""
        return self._ends(COMMANDS, partition)

    def _ends(self, topic: str, partition: int) -> Ends:
        where = TopicPartition(topic, partition)
        # Refreshes the leaders: one that is gone would be asked else, as in `kafka.lag_probe`.
        self._admin.list_topics(topic, timeout=_ASK_SECONDS)
        futures = [
            self._admin.list_offsets(
                {where: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_ASK_SECONDS
            )[where]
            for spec in _ENDS
        ]
        first, end = (future.result().offset for future in futures)
        return Ends(first, end)

    def committed_position(self, partition: int) -> int | None:
        """The group's committed offset of the commands; null: it has none."""
        (position,) = self._consumer.committed([TopicPartition(COMMANDS, partition)], _ASK_SECONDS)
        return position.offset if position.offset >= 0 else None

    def read(self, partition: int, offset: int) -> tuple[list[tuple[bytes, bytes | None]], int]:
        """The next committed records from an offset on, and the offset after them."""
        if self._reading != (partition, offset):
            self._consumer.assign([TopicPartition(STATE, partition, offset)])
            self._is_heard = False
        records: list[tuple[bytes, bytes | None]] = []
        # The first one alone: the library waits for as many as it is asked for.
        message = self._consumer.poll(_READ_SECONDS)
        messages = [] if message is None else [message, *self._consumer.consume(_BATCH_RECORDS, 0)]
        for message in messages:
            self._is_heard = True
            error = message.error()
            if error is None:
                key = message.key()
                assert key is not None, "a changelog record without a key"
                records.append((key, message.value()))
            elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's own name
                raise KafkaException(error)
        reached = offset
        if self._is_heard:
            # Before the first message the library may return an old position, and records would be skipped.
            (where,) = self._consumer.position([TopicPartition(STATE, partition)])
            reached = max(offset, where.offset)
        self._reading = (partition, reached)
        return records, reached

    def abort_open_transaction(self, transactional_id: str) -> bool:
        """Abort the open transaction of a dead process. False: the process is alive."""
        if transactional_id == self._own_transactional_id:
            return False
        group_id = self._application_id
        instance_id = instance_of(group_id, transactional_id)
        members = describe_group(self._bootstrap_servers, group_id, _ASK_SECONDS).members
        if any(member.instance_id == instance_id for member in members):
            return False
        logger.warning("%s is gone and left a transaction open: it is aborted", instance_id)
        producer = Producer({**connection(self._bootstrap_servers), "transactional.id": transactional_id})
        producer.init_transactions(_ASK_SECONDS)
        return True

    def close(self) -> None:
        """Release the connections."""
        self._consumer.close()
