"""Reader of the history topic: records of the workflows that somebody follows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from backbeat.delivery.kafka import logger, make_consumer
from backbeat.errors import Unavailable
from backbeat.schemas import codec
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.ends import read_ends
from backbeat.schemas.kafka.topics import HISTORY
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.history import StatusChangesRecord

_ASK_SECONDS = 5.0
_POLL_SECONDS = 0.2
_AGAIN_SECONDS = 1.0
_RECORDS_AT_ONCE = 500
#: Records of a partition that are read again for somebody who was away, at most.
_AGAIN_RECORDS_MAX = 100_000


class Followed(NamedTuple):
    """A record of a workflow that is followed, and its place."""

    workflow_id: bytes
    offset: int
    record: StatusChangesRecord


class HistoryReader:
    """Reads in a thread of its own, from the end on, or from where somebody was. Others' records it drops undecoded."""

    def __init__(
        self,
        bootstrap_servers: str,
        tell: Callable[[list[Followed]], None],
        ready: Callable[[Mapping[bytes, int]], None],
        failed: Callable[[str], None],
    ) -> None:
        """All of these are called in the thread.

        `tell`: with records, in order of each workflow. `ready`: with the workflows that are followed from then on,
        each with the offset of the first record that is read. `failed`: with why Kafka cannot be read at the moment.
        """
        self._bootstrap_servers = bootstrap_servers
        self._tell = tell
        self._ready = ready
        self._failed = failed
        #: of who is followed from where, and of the thread
        self._lock = threading.Lock()
        self._followed: frozenset[bytes] = frozenset()
        self._begins: list[tuple[bytes, int]] = []
        self._changed = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def follow(self, workflow_ids: frozenset[bytes], begins: Mapping[bytes, int]) -> None:
        """Follow these workflows, and no others. Without any the thread ends.

        `begins`: of some of them the offset to read from; the others are followed from the end on.
        """
        with self._lock:
            self._followed = workflow_ids
            self._begins += begins.items()
            self._changed.set()
            if workflow_ids and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._run, name="backbeat-history", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Stop reading. Blocks."""
        self._stopping = True
        self.follow(frozenset(), {})
        if (thread := self._thread) is not None:
            thread.join()

    def _run(self) -> None:
        # Of the next record by partition: kept while Kafka is away, so that followers miss nothing.
        offsets: dict[int, int] = {}
        while self._is_followed():
            try:
                self._read(offsets)
                offsets.clear()
            except (KafkaException, Unavailable) as error:
                logger.warning("changes cannot be followed at the moment: %s", error)
                self._failed(str(error))
                self._changed.wait(_AGAIN_SECONDS)

    def _is_followed(self) -> bool:
        """False: nobody follows anything, and who comes from now on starts another thread."""
        with self._lock:
            if self._followed and not self._stopping:
                return True
            self._thread = None
            return False

    def _read(self, offsets: dict[int, int]) -> None:
        settings = {"fetch.wait.max.ms": 500}
        consumer = make_consumer(self._bootstrap_servers, "backbeat-history-reader", settings)
        followed: frozenset[bytes] = frozenset()
        self._changed.set()
        try:
            topic = consumer.list_topics(HISTORY, _ASK_SECONDS).topics[HISTORY]
            count = len(topic.partitions)
            if not count:
                reason = topic.error or "What to do: run `backbeat topics create`."
                raise Unavailable(f"The topic {HISTORY} cannot be read. {reason}")
            while True:
                if self._changed.is_set():
                    with self._lock:
                        self._changed.clear()
                        followed = self._followed
                        begins, self._begins = self._begins, []
                    if not followed or self._stopping:
                        return
                    partitions = {workflow_id: ids.partition_of(workflow_id, count) for workflow_id in followed}
                    _assign(consumer, offsets, set(partitions.values()), _by_partition(begins, partitions))
                    self._ready({workflow_id: offsets[partition] for workflow_id, partition in partitions.items()})
                self._take(consumer.consume(_RECORDS_AT_ONCE, _POLL_SECONDS), followed, offsets)
        finally:
            consumer.close()

    def _take(self, messages: list[Message], followed: frozenset[bytes], offsets: dict[int, int]) -> None:
        records: list[Followed] = []
        for message in messages:
            if message.error() is not None:
                continue
            offset = message.offset() or 0
            offsets[message.partition() or 0] = offset + 1
            key, value = message.key(), message.value()
            if not isinstance(key, bytes) or key not in followed or value is None:
                continue
            try:
                records.append(Followed(key, offset, codec.decode_status_changes(value)))
            except DecodeError:
                # Somebody else's record.
                continue
        if records:
            self._tell(records)


def _by_partition(begins: list[tuple[bytes, int]], partitions: Mapping[bytes, int]) -> dict[int, int]:
    """The offsets that were asked for, by partition."""
    offsets: dict[int, int] = {}
    for workflow_id, offset in begins:
        if workflow_id in partitions:
            partition = partitions[workflow_id]
            offsets[partition] = min(offsets.get(partition, offset), offset)
    return offsets


def _assign(consumer: Consumer, offsets: dict[int, int], partitions: set[int], begins: Mapping[int, int]) -> None:
    """Read these partitions: those that are new from their ends on, or from where somebody wants to begin."""
    assigned = {place.partition for place in consumer.assignment()}
    # Assigned anew a partition loses what was fetched ahead of it: not where all are read on from where they are.
    moved = assigned != partitions
    for partition in list(offsets):
        if partition not in partitions:
            del offsets[partition]
    for partition in partitions:
        begin = begins.get(partition)
        if partition in offsets and (begin is None or begin >= offsets[partition]):
            continue
        low, high = read_ends(consumer, HISTORY, partition, _ASK_SECONDS)
        offsets[partition] = high if begin is None else min(max(begin, low, high - _AGAIN_RECORDS_MAX), high)
        moved = True
    if moved:
        consumer.assign([TopicPartition(HISTORY, partition, offset) for partition, offset in offsets.items()])
