"""Kafka's side of the ports of a consumer, in memory: what a group's consumer and a producer are told, and tell.

Records are handed out in order, and rebalances happen within `poll`, on the thread that calls it, as the library has
it. What a test wants to happen there, it asks for with `do`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
from confluent_kafka import KafkaError, Message, TopicPartition

from backbeat.schemas.codec import encode_activity
from backbeat.schemas.kafka.topics import COMMANDS
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord
from tests.integration.at_work import activity

Places = list[TopicPartition]


def places(topic: str, *partitions: int) -> Places:
    return [TopicPartition(topic, partition) for partition in partitions]


def record_of(number: int, **changes: Any) -> bytes:
    """An activity's record, the same for each number."""
    node = msgspec.structs.replace(activity("Work", "A", number, b"u" * 16), **changes)
    return encode_activity(ActivityRecord(node, ActivityKind.ACTIVITY))


class Group:
    """A consumer of a group, and the group itself: it has the partitions that the test says."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        #: (partition, offset) of each commit, in order.
        self.commits: list[tuple[int, int]] = []
        self.notes: dict[int, str] = {}
        self.paused: set[int] = set()
        self.closed_with: Places | None = None
        #: Set while nothing keeps `commit` from returning.
        self.commit_returns = threading.Event()
        self.commit_returns.set()
        self._assigned: dict[int, TopicPartition] = {}
        self._log: deque[Message] = deque()
        self._to_do: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._ends: dict[int, int] = {}
        self._listeners: dict[str, Any] = {}
        self._topic = ""

    def connect(self, group: str, settings: dict[str, Any]) -> Group:
        self.settings = {"group.id": group, **settings}
        return self

    # --- the test's side ---------------------------------------------------------------------------------------------

    def do(self, action: Callable[[], object]) -> None:
        """Do it within the next `poll`."""
        with self._changed:
            self._to_do.append(action)
            self._changed.notify()

    def put(self, *values: bytes, partition: int = 0) -> None:
        with self._changed:
            for value in values:
                offset = self._ends.get(partition, 0)
                self._ends[partition] = offset + 1
                self._log.append(Message(topic=self._topic, partition=partition, offset=offset, value=value))
            self._changed.notify()

    def put_error(self, error: Any) -> None:
        with self._changed:
            self._log.append(Message(topic=self._topic, error=error))
            self._changed.notify()

    def assign(self, *partitions: int) -> None:
        def assign() -> None:
            new = places(self._topic, *partitions)
            self._assigned.update({place.partition: place for place in new})
            self._listeners["on_assign"](self, new)

        self.do(assign)

    def revoke(self, *partitions: int, lost: bool = False) -> None:
        def revoke() -> None:
            gone = [self._assigned.pop(partition) for partition in partitions]
            self._listeners["on_lost" if lost else "on_revoke"](self, gone)

        self.do(revoke)

    @property
    def is_subscribed(self) -> bool:
        return bool(self._listeners)

    @property
    def marks(self) -> dict[int, int]:
        """Partition -> the newest committed offset."""
        return dict(self.commits)

    # --- the library's side ------------------------------------------------------------------------------------------

    def subscribe(self, topics: list[str], **listeners: Any) -> None:
        (self._topic,) = topics
        self._listeners = listeners

    def unsubscribe(self) -> None:
        if self._assigned:
            self.revoke(*self._assigned)

    def poll(self, timeout: float) -> Message | None:
        with self._changed:
            self._changed.wait_for(self._is_ready, timeout)
            actions = list(self._to_do)
            self._to_do.clear()
        for action in actions:
            action()
        return self._next()

    def consume(self, count: int, timeout: float) -> list[Message]:
        first = self.poll(timeout)
        messages = [] if first is None else [first]
        while len(messages) < count and (message := self._next()) is not None:
            messages.append(message)
        return messages

    def _is_ready(self) -> bool:
        return bool(self._to_do) or any(self._is_read(message) for message in self._log)

    def _is_read(self, message: Message) -> bool:
        return message.error() is not None or (
            message.partition() in self._assigned and message.partition() not in self.paused
        )

    def _next(self) -> Message | None:
        with self._changed:
            for index, message in enumerate(self._log):
                if self._is_read(message):
                    del self._log[index]
                    return message
        return None

    def assignment(self) -> Places:
        return list(self._assigned.values())

    def pause(self, partitions: Places) -> None:
        self.paused |= {place.partition for place in partitions}

    def resume(self, partitions: Places) -> None:
        self.paused -= {place.partition for place in partitions}

    def commit(self, *, offsets: Places, asynchronous: bool) -> Places:
        del asynchronous
        assert self.commit_returns.wait(60)
        self.commits += [(place.partition, place.offset) for place in offsets]
        self.notes |= {place.partition: place.metadata or "" for place in offsets}
        return offsets

    def committed(self, partitions: Places, timeout: float) -> Places:
        del timeout
        return [
            TopicPartition(
                place.topic,
                place.partition,
                self.marks.get(place.partition, -1001),
                self.notes.get(place.partition, ""),
            )
            for place in partitions
        ]

    def get_watermark_offsets(self, place: TopicPartition, *, cached: bool) -> tuple[int, int]:
        del cached
        return 0, self._ends.get(place.partition, 0)

    def incremental_assign(self, partitions: Places) -> None:
        del partitions

    def close(self) -> None:
        self.closed_with = self.assignment()


class Producer:
    """A producer whose records Kafka has when the test says so; at once, unless it `holds`."""

    def __init__(self, *, holds: bool = False, topics: tuple[str, ...] = ()) -> None:
        self.holds = holds
        self.topics = topics
        self._held: deque[Any] = deque()
        #: (topic, value) of each record, in the order in which they were produced.
        self.sent: list[tuple[str, bytes]] = []
        #: Number of BufferErrors until there is room again.
        self.full = 0
        #: Number of records of each batch.
        self.batches: list[int] = []
        self._reports: deque[Callable[[], None]] = deque()
        self._lock = threading.Condition()

    def make(self, _: str, __: dict[str, Any]) -> Producer:
        return self

    def acknowledge(self, count: int | None = None, error: Any = None) -> None:
        """Report the oldest records, or all."""
        with self._lock:
            for _ in range(len(self._held) if count is None else count):
                self._reports.append(self._reported(self._held.popleft(), error))
            self._lock.notify()

    def _reported(self, on_delivery: Any, error: Any) -> Callable[[], None]:
        return lambda: on_delivery(error, None)

    def list_topics(self, timeout: float) -> Any:
        del timeout
        counts = {name: SimpleNamespace(partitions=range(4)) for name in (COMMANDS, *self.topics)}
        return SimpleNamespace(topics=counts)

    def produce(self, topic: str, value: Any = None, key: Any = None, *, on_delivery: Any, **_: Any) -> None:
        del key
        with self._lock:
            if self.full:
                self.full -= 1
                raise BufferError("queue full")
            self.sent.append((topic, value))
            if self.holds:
                self._held.append(on_delivery)
            else:
                self._reports.append(self._reported(on_delivery, None))
            self._lock.notify()

    def produce_batch(self, topic: str, records: list[dict[str, Any]], partition: int) -> int:
        """As the library does it: once a record finds no room, none behind it is taken."""
        del partition
        self.batches.append(len(records))
        for place, record in enumerate(records):
            try:
                self.produce(topic, record["value"], on_delivery=record["callback"])
            except BufferError:
                for left in records[place:]:
                    left["_error"] = KafkaError(KafkaError._QUEUE_FULL)
                return place
        return len(records)

    def poll(self, timeout: float) -> int:
        with self._lock:
            self._lock.wait_for(lambda: self._reports, min(timeout, 0.01))
            reports = list(self._reports)
            self._reports.clear()
        for report in reports:
            report()
        return len(reports)

    def flush(self, timeout: float) -> int:
        self.poll(timeout)
        return len(self._held)

    def purge(self) -> None:
        pass

    def close(self) -> None:
        pass

    def values(self, topic: str) -> list[bytes]:
        return [value for name, value in self.sent if name == topic]
