"""Answers out: outcomes of activities are sent to the engine, and their deliveries are answered when Kafka has them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from confluent_kafka import KafkaError, Message, Producer

from backbeat.delivery.kafka import close_producer, make_producer, partition_counts
from backbeat.delivery.pusher import FULL_SECONDS, push_overdue
from backbeat.delivery.record_batch import RecordBatch
from backbeat.delivery.records import Delivery
from backbeat.errors import Unavailable
from backbeat.schemas.codec import encode_command
from backbeat.schemas.kafka import dead_letters
from backbeat.schemas.kafka.topics import COMMANDS
from backbeat.schemas.messages.commands import AnyCommand
from backbeat.schemas.messages.ids import partition_of
from backbeat.schemas.routes import route
from backbeat.transport.connecting import Pinned

D = TypeVar("D", bound=Delivery)

_FLUSH_SECONDS_MAX = 10.0

#: Port of the connection: Kafka's own, unless a test has another.
MakeProducer = Callable[[str, Mapping[str, Any]], Producer]


def routed(command: AnyCommand) -> tuple[bytes, bytes]:
    """A command's route and its bytes. EncodeError: it cannot be written."""
    route_key = route(command)
    assert route_key is not None, "a command that is sent to every partition"
    return route_key, encode_command(command)


class ResultProducer:
    """Producer of answers, which sends each until Kafka takes it. Acknowledgements are reported in `serve`.

    Answers are gathered in `batch`, for its owner to push: a `Pusher` where there is an event loop.
    """

    def __init__(self, bootstrap_servers: str, make: MakeProducer = make_producer) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._make = make
        self._producer: Producer
        self.batch: RecordBatch
        self._pinned: Pinned | None = None
        self._partitions = 0
        self._refused: KafkaError | None = None

    def connect(self, *topics: str) -> None:
        """Connect. Unavailable: Kafka does not answer, or has neither the commands nor one of these topics."""
        if self._pinned is None:
            # One request at a time: what is answered while it is under way leaves together with the next, at no cost to
            # an answer that comes alone.
            settings = {"message.timeout.ms": 0, "max.in.flight.requests.per.connection": 1}
            self._producer = self._make(self._bootstrap_servers, settings)
            self._pinned = Pinned(self._producer)
            self.batch = RecordBatch(self._producer, waits=True)
        try:
            self._partitions, *_ = partition_counts(self._producer, self._bootstrap_servers, COMMANDS, *topics)
        except Unavailable:
            self.close()
            raise

    def add(self, answers: Sequence[tuple[bytes, bytes]], delivery: D, acknowledged: Callable[[D], None]) -> bool:
        """Add the commands that answer a delivery, each with its route, in order; then the delivery is answered.

        That is when Kafka has acknowledged all of them: those of other partitions may be later than the last. True: the
        batch begins with them, and is to be pushed soon.
        """
        delivery.unsent = len(answers)
        report = partial(self._report_answer, delivery, acknowledged)
        key, is_first = delivery.record.node.subject, False
        for route_key, value in answers:
            partition = partition_of(route_key, self._partitions)
            is_first |= self.batch.add(COMMANDS, partition, value, key, report)
        return is_first

    def _report_answer(
        self, delivery: D, acknowledged: Callable[[D], None], error: KafkaError | None, _: Message | None
    ) -> None:
        if error is not None:
            self._refused = error
            return
        delivery.unsent -= 1
        if delivery.unsent == 0:
            delivery.answered = True
            acknowledged(delivery)

    def dead_letter(self, message: Message, reason: str, acknowledged: Callable[[], None]) -> None:
        """Send a record that is no activity to the dead letters. BufferError: there is no room."""
        dead_letters.send(self._producer, message, reason, partial(self._report, acknowledged))

    def requeue(self, message: Message, acknowledged: Callable[[], None]) -> None:
        """Send a record to the end of its topic. BufferError: there is no room."""
        topic = message.topic()
        assert topic is not None
        headers = cast("list[tuple[str, str | bytes | None]]", dead_letters.headers_of(message) or [])
        self._producer.produce(
            topic, message.value(), message.key(), headers=headers, on_delivery=partial(self._report, acknowledged)
        )

    def _report(self, acknowledged: Callable[[], None], error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._refused = error
        else:
            acknowledged()

    def serve(self, seconds: float) -> None:
        """Serve reports, awaited for at most so long. Unavailable: Kafka refuses a record."""
        self._producer.poll(seconds)
        push_overdue(self.batch)
        if self._refused is not None:
            raise Unavailable(f"Kafka does not take a record: {self._refused.str()}")

    def push(self) -> None:
        """Push the batch, as soon as there is room. From the thread that serves the reports, since these make room."""
        while not self.batch.push():
            self.serve(FULL_SECONDS)

    def flush(self) -> None:
        """Wait until Kafka has all results, for some seconds; reports are served here."""
        ends_at = time.monotonic() + _FLUSH_SECONDS_MAX
        while not self.batch.push() and time.monotonic() < ends_at:
            self._producer.poll(FULL_SECONDS)
        self._producer.flush(max(0.0, ends_at - time.monotonic()))

    def close(self) -> None:
        """Disconnect: what is not sent is given up. It can be connected again."""
        if self._pinned is not None:
            self._pinned = None
            close_producer(self._producer)
