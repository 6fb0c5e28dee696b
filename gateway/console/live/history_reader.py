"""Reader of the history topic: changed nodes of the workflows that somebody looks at."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from backbeat.delivery.kafka import make_consumer
from backbeat.errors import Unavailable
from backbeat.schemas import codec
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.topics import HISTORY
from backbeat.schemas.messages import ids

logger = logging.getLogger(__name__)

_ASK_SECONDS = 5.0
_POLL_SECONDS = 0.2
_AGAIN_SECONDS = 1.0
_RECORDS_AT_ONCE = 500

#: Called with the ids of changed nodes by workflow.
Tell = Callable[[dict[bytes, set[bytes]]], None]


class HistoryReader:
    """Reads in a thread of its own, from the end on. What nobody watches is dropped undecoded."""

    def __init__(self, bootstrap_servers: str, tell: Tell, ready: Callable[[frozenset[bytes]], None]) -> None:
        """`ready`: called with the workflows that are watched from then on."""
        self._bootstrap_servers = bootstrap_servers
        self._tell = tell
        self._ready = ready
        self._watched: frozenset[bytes] = frozenset()
        self._changed = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def watch(self, workflow_ids: frozenset[bytes]) -> None:
        """Watch these workflows, and no others. Without any the thread ends."""
        self._watched = workflow_ids
        self._changed.set()
        if workflow_ids and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._run, name="console-history", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop reading. Blocks."""
        self._stopping = True
        self.watch(frozenset())
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._watched and not self._stopping:
            try:
                self._read()
            except (KafkaException, Unavailable) as error:
                logger.warning("pages are not live at the moment: %s", error)
                self._changed.wait(_AGAIN_SECONDS)

    def _read(self) -> None:
        consumer = make_consumer(self._bootstrap_servers, "backbeat-console-live", {"fetch.wait.max.ms": 500})
        offsets: dict[int, int] = {}
        watched: frozenset[bytes] = frozenset()
        self._changed.set()
        try:
            count = len(consumer.list_topics(HISTORY, _ASK_SECONDS).topics[HISTORY].partitions)
            if not count:
                raise Unavailable(f"There is no topic {HISTORY}. What to do: run `backbeat topics create`.")
            while True:
                if self._changed.is_set():
                    self._changed.clear()
                    watched = self._watched
                    if not watched or self._stopping:
                        return
                    _assign(consumer, offsets, {ids.partition_of(one, count) for one in watched})
                    self._ready(watched)
                self._take(consumer.consume(_RECORDS_AT_ONCE, _POLL_SECONDS), watched, offsets)
        finally:
            consumer.close()

    def _take(self, messages: list[Message], watched: frozenset[bytes], offsets: dict[int, int]) -> None:
        changed: dict[bytes, set[bytes]] = {}
        for message in messages:
            if message.error() is not None:
                continue
            offsets[message.partition() or 0] = (message.offset() or 0) + 1
            key, value = message.key(), message.value()
            if not isinstance(key, bytes) or key not in watched or value is None:
                continue
            try:
                record = codec.decode_status_changes(value)
            except DecodeError:
                # Somebody else's record.
                continue
            changed.setdefault(key, set()).update(change.node_id for change in record.changes)
        if changed:
            self._tell(changed)


def _assign(consumer: Consumer, offsets: dict[int, int], partitions: set[int]) -> None:
    """Read these partitions: those that are new from their ends on."""
    for partition in list(offsets):
        if partition not in partitions:
            del offsets[partition]
    for partition in partitions - offsets.keys():
        _, offsets[partition] = consumer.get_watermark_offsets(TopicPartition(HISTORY, partition), timeout=_ASK_SECONDS)
    consumer.assign([TopicPartition(HISTORY, partition, offset) for partition, offset in offsets.items()])
