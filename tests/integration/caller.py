"""Somebody who asks the engine: raw commands and queries out, replies in. Nothing of the SDK."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import msgspec
from confluent_kafka import Producer, TopicPartition

from backbeat.schemas import codec
from backbeat.schemas.kafka.topics import COMMANDS, QUERIES, REPLIES
from backbeat.schemas.messages import ids, queries, views
from backbeat.schemas.messages.commands import AnyCommand, ChangeNode, Signal
from backbeat.schemas.messages.replies import ReplyRecord
from backbeat.schemas.messages.status import CLOSED
from backbeat.schemas.messages.values import NewNode, NewWorkflow, ReplyTo
from backbeat.schemas.routes import route
from tests.integration.topic import batch, consumer, ends

#: How long an answer may take while engines die and come back.
SECONDS_MAX = 180.0
#: After which a query is asked again: its owner may have died with it.
QUERY_SECONDS = 3.0


class Caller:
    """Sends, and waits for what comes back. Safe to use from several threads."""

    def __init__(self, kafka: str, user_id: bytes, partitions: int) -> None:
        self.kafka, self.user_id, self.partitions = kafka, user_id, partitions
        self.asker = uuid.uuid4().bytes
        #: records of the commands topic
        self.sent = 0
        self._producer = Producer(
            {"bootstrap.servers": kafka, "linger.ms": 2, "message.max.bytes": 4_000_000, "log_level": 0}
        )
        self._consumer = consumer(kafka)
        self._reply_partition = int.from_bytes(self.asker[:2], "big") % len(ends(kafka, REPLIES))
        begin = ends(kafka, REPLIES)[self._reply_partition]
        self._consumer.assign([TopicPartition(REPLIES, self._reply_partition, begin)])
        self._changed = threading.Condition()
        self._parts: dict[int, dict[int, ReplyRecord]] = {}
        self._count = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="replies")
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._consumer.close()
        self.flush()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            for message in batch(self._consumer):
                if message.error() is None and message.key() == self.asker:
                    self._take(codec.decode_reply(message.value()))

    def _take(self, reply: ReplyRecord) -> None:
        with self._changed:
            self._parts.setdefault(reply.number, {})[reply.part] = reply
            self._changed.notify_all()

    # --- commands ------------------------------------------------------------------------------------------------

    def send(self, command: AnyCommand, *, partition: int | None = None) -> None:
        """Send a command; nobody waits for its answer."""
        identity = route(command)
        where = ids.partition_of(identity, self.partitions) if partition is None else partition
        self.send_raw(codec.encode_command(command), where, key=identity)

    def send_raw(self, value: bytes | None, partition: int, *, key: bytes | None = None, topic: str = COMMANDS) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, partition)
            except BufferError:
                self._producer.poll(0.1)
            else:
                break
        self.sent += topic == COMMANDS
        self._producer.poll(0)

    def flush(self) -> None:
        assert self._producer.flush(SECONDS_MAX) == 0, "records are not acknowledged"

    def _next(self) -> ReplyTo:
        with self._changed:
            self._count += 1
            return ReplyTo(self._reply_partition, self.asker, self._count)

    def ask(self, command: AnyCommand, *, partition: int | None = None) -> Any:
        """Send a command and give its answer."""
        return self.wait(self.begin(command, partition=partition))

    def begin(self, command: AnyCommand, *, partition: int | None = None) -> int:
        """Send a command; `wait` gives its answer."""
        to = self._next()
        self.send(msgspec.structs.replace(command, reply_to=to), partition=partition)
        return to.number

    def wait(self, number: int, seconds: float = SECONDS_MAX) -> Any:
        """The one part of an answer."""
        parts = self._all_parts(number, seconds)
        assert parts is not None, f"no answer within {seconds:.0f} s"
        assert len(parts) == 1, parts
        return parts[0]

    def _all_parts(self, number: int, seconds: float) -> list[Any] | None:
        def whole() -> bool:
            parts = self._parts.get(number, {})
            return any(part.last and len(parts) == part.part + 1 for part in parts.values())

        with self._changed:
            if not self._changed.wait_for(whole, seconds):
                return None
            parts = self._parts[number]
        return [parts[index].answer for index in range(len(parts))]

    # --- queries -------------------------------------------------------------------------------------------------

    def query(self, kind: type[queries.Query], *, seconds: float = SECONDS_MAX, **fields: Any) -> list[Any]:
        """The parts of the answer to a query; asked again while nobody answers."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            parts = self.query_once(kind, **fields)
            if parts is not None:
                return parts
        raise AssertionError(f"nobody answered {kind.__name__} within {seconds:.0f} s")

    def query_once(self, kind: type[queries.Query], *, seconds: float = QUERY_SECONDS, **fields: Any) -> Any:
        """The parts of the answer to one query record, or None."""
        return self._all_parts(self.begin_query(kind, seconds=seconds, **fields), seconds + 1.0)

    def begin_query(self, kind: type[queries.Query], *, seconds: float = QUERY_SECONDS, **fields: Any) -> int:
        """Send one query record; `wait_parts` gives its answer."""
        to = self._next()
        asked: Any = kind(reply_to=to, deadline=int((time.time() + seconds) * 1000), **fields)
        identity = queries.query_route(asked)
        where = asked.partition if identity is None else ids.partition_of(identity, self.partitions)
        self.send_raw(codec.encode_query(asked), where, key=identity, topic=QUERIES)
        return to.number

    def wait_parts(self, number: int, seconds: float = SECONDS_MAX) -> list[Any]:
        """All parts of an answer."""
        parts = self._all_parts(number, seconds)
        assert parts is not None, f"no answer within {seconds:.0f} s"
        return parts

    def has_answer(self, number: int) -> bool:
        """Whether any part of an answer has come."""
        with self._changed:
            return number in self._parts

    def workflow(self, workflow_id: bytes) -> Any:
        return self.query(queries.GetWorkflow, workflow_id=workflow_id)[0]

    def node(self, node_id: bytes) -> Any:
        return self.query(queries.GetNode, node_id=node_id)[0]

    def tree(self, workflow_id: bytes) -> list[views.NodeView]:
        first, *parts = self.query(queries.GetTree, workflow_id=workflow_id)
        assert isinstance(first, views.WorkflowView), first
        return [node for part in parts for node in part.nodes]

    def wait_node(self, node_id: bytes, seconds: float = SECONDS_MAX) -> views.NodeView:
        """The node once it is closed."""
        deadline = time.monotonic() + seconds
        node = None
        while time.monotonic() < deadline:
            parts = self.query_once(queries.WaitNode, node_id=node_id)
            if parts is not None:
                node = parts[0]
                if isinstance(node, views.NodeView) and node.server in CLOSED:
                    return node
        raise AssertionError(f"not closed within {seconds:.0f} s: {node}")

    def commit(self, partition: int) -> int:
        """Let the partition's owner commit now; how far the changelog has to be read."""
        (position,) = self.query(queries.Flush, partition=partition)
        return position.offset

    # --- what is sent often ----------------------------------------------------------------------------------------

    def signal(
        self, subject: bytes, name: str = "Make Purchase", *, identity: bytes | None = None, **more: Any
    ) -> Signal:
        """A signal that finds or makes its workflow; not sent yet."""
        new = NewWorkflow(user_id=self.user_id, name="Purchases", subject=subject, decider="D")
        return Signal(
            id=identity or uuid.uuid4().bytes,
            user_id=self.user_id,
            tid="tid-" + subject.decode(),
            workflow_id=ids.workflow_id(self.user_id, new.name, subject),
            workflow=new,
            node=NewNode(name=name, user_id=self.user_id, type="decision", **more),
        )


def node_of(signal: Signal) -> bytes:
    """The id of the node that a signal makes."""
    return ids.node_id(signal.workflow_id, signal.id, 0)


def result(
    node: views.NodeView,
    status: str = "completed",
    *,
    children: tuple[NewNode, ...] = (),
    response: bytes | None = None,
    ordinal: int = 0,
) -> ChangeNode:
    """What a worker sends of an attempt: the same id whenever it is sent again."""
    identity = ids.command_id(node.id, node.attempt.to_bytes(8, "big"), ordinal.to_bytes(4, "big"))
    return ChangeNode(
        id=identity,
        user_id=node.user_id,
        tid=node.tid,
        node_id=node.id,
        status=status,
        response=response,
        children=children,
        attempt=node.attempt,
    )
