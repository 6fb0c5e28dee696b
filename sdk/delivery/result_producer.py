"""Answers out: outcomes of activities are sent to the engine, and their jobs are settled when Kafka has them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import cast

from confluent_kafka import KafkaError, Message, Producer

from backbeat.delivery.kafka import make_producer, partition_counts
from backbeat.delivery.records import Job
from backbeat.errors import Unavailable
from backbeat.schemas.codec import encode_command
from backbeat.schemas.kafka import dead_letters
from backbeat.schemas.kafka.topics import COMMANDS
from backbeat.schemas.messages.commands import AnyCommand, route
from backbeat.schemas.messages.ids import partition_of
from backbeat.transport.connecting import Pinned

#: Wait for room where Kafka does not keep up, or is away; serving the reports makes it.
FULL_SECONDS = 0.05
_FLUSH_SECONDS_MAX = 10.0

Report = Callable[[KafkaError | None, Message], None]


def routed(command: AnyCommand) -> tuple[bytes, bytes]:
    """A command's route and its bytes. EncodeError: it cannot be written."""
    route_key = route(command)
    assert route_key is not None, "a command that is sent to every partition"
    return route_key, encode_command(command)


class ResultProducer:
    """The worker's producer. Reports of sent records are served, and `on_acknowledged` is called, in `serve`."""

    def __init__(self, bootstrap_servers: str, on_acknowledged: Callable[[Job], None]) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._on_acknowledged = on_acknowledged
        self._producer: Producer
        self._pinned: Pinned
        self._partitions = 0
        self._refused: KafkaError | None = None

    def connect(self, topic: str) -> None:
        """Connect. Unavailable: Kafka does not answer, or has neither the commands nor this topic."""
        self._producer = make_producer(
            self._bootstrap_servers,
            # A result is sent until Kafka takes it.
            # One request at a time: what is answered while it is under way leaves together with the next, at no cost to
            # an answer that comes alone.
            {"message.timeout.ms": 0, "max.in.flight.requests.per.connection": 1},
        )
        self._pinned = Pinned(self._producer)
        self._partitions, _ = partition_counts(self._producer, self._bootstrap_servers, COMMANDS, topic)

    def send(self, answers: Sequence[tuple[bytes, bytes]], job: Job) -> None:
        """Send the commands that answer a job, each with its route, in order. From any thread but the serving one.

        It is done when Kafka has acknowledged all of them: those of other partitions may be later than the last.
        """
        job.unsent = len(answers)

        def report(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                self._refused = error
                return
            job.unsent -= 1
            if job.unsent == 0:
                job.answered = True
                self._on_acknowledged(job)

        for route_key, value in answers:
            while True:
                try:
                    self._producer.produce(
                        COMMANDS,
                        value,
                        job.record.node.subject,
                        partition=partition_of(route_key, self._partitions),
                        on_delivery=report,
                    )
                except BufferError:
                    # Kafka does not keep up, or is away. The reports that make room are served elsewhere.
                    time.sleep(FULL_SECONDS)
                else:
                    break

    def dead_letter(self, message: Message, reason: str, on_acknowledged: Callable[[], None]) -> None:
        """Send a record that is no activity to the dead letters. BufferError: there is no room."""
        dead_letters.send(self._producer, message, reason, self._report(on_acknowledged))

    def requeue(self, message: Message, on_acknowledged: Callable[[], None]) -> None:
        """Send a record to the end of its topic. BufferError: there is no room."""
        topic = message.topic()
        assert topic is not None
        headers = cast("list[tuple[str, str | bytes | None]]", dead_letters.headers_of(message) or [])
        self._producer.produce(
            topic, message.value(), message.key(), headers=headers, on_delivery=self._report(on_acknowledged)
        )

    def _report(self, on_acknowledged: Callable[[], None]) -> Report:
        def report(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                self._refused = error
            else:
                on_acknowledged()

        return report

    def serve(self, seconds: float) -> None:
        """Serve reports, awaited for at most so long. Unavailable: Kafka refuses a result."""
        self._producer.poll(seconds)
        if self._refused is not None:
            raise Unavailable(f"Kafka does not take a result: {self._refused.str()}")

    def flush(self) -> None:
        """Wait until Kafka has all results, for some seconds; reports are served here."""
        self._producer.flush(_FLUSH_SECONDS_MAX)
