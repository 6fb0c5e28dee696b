"""Fault of records: what nobody should write, written to the topics that many write to."""

from __future__ import annotations

import json
import time

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from backbeat.compose.drill.faults.fault import Fault, FaultError
from backbeat.schemas.kafka.security import Brokers, connection
from backbeat.schemas.kafka.topics import COMMANDS, QUERIES, signals_topic

_ASK_SECONDS = 20.0
_FLUSH_SECONDS = 60.0
_LARGE_BYTES = 300_000
_SAMPLES_MAX = 50

#: Signals in JSON that are none: of every kind that the ingest refuses.
_SIGNALS = (
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"\xff\xfe\x00\x01",
    b"[" * 50_000,
    b'{"a":' * 3_000 + b"1" + b"}" * 3_000,
    b'{"workflow":"w","subject":"s","decider":"d"}',
    b'{"workflow":"w","subject":null,"decider":"d","signal":"s"}',
    b'{"workflow":"w","subject":"s","decider":"d","signal":"s","retry":-1}',
    b'{"workflow":"w","subject":"s","decider":"d","signal":"s","retry":1e999}',
    b'{"workflow":"w","subject":"s","decider":"d","signal":"s","fires_at":"tomorrow"}',
    b'{"workflow":"w","subject":"s","decider":"d","signal":"s","unheard_of":1}',
    b'{"workflow":"w","subject":"s","decider":"d","signal":"s","mode":"non_blocking"}',
    b'{"workflow":"w","subject":"s","decider":"d","signal":"s","client_data":[1]}',
    b'{"workflow":"w","subject":"s","decider":"d","signal":"s","metadata":"' + b"x" * _LARGE_BYTES + b'"}',
    b'{"workflow":"\\ud800","subject":"s","decider":"d","signal":"s"}',
)


class Poison(Fault):
    """Writes bad records at `per_second`: random bytes, records of ours that were changed, signals that are none.

    `bootstrap_servers` and `client` say where; `plain`: without encryption, whatever the environment says. Records of
    `backbeat.commands` are copied, then cut, lengthened, given another schema's fingerprint, a flipped bit, another
    partition, or no value at all.
    """

    _producer: Producer | None = None
    _due = 0.0
    _began_at = 0.0
    _sent = 0
    _kinds: dict[str, int]

    def inject(self) -> None:
        """Look at the records that there are."""
        servers = self.arguments["bootstrap_servers"]
        if self.arguments.get("plain"):
            servers = Brokers(servers)
        self._kinds = {}
        try:
            self._partitions, self._samples = _read_samples(servers)
        except KafkaException as error:
            raise FaultError(f"Kafka at {servers}: {error}") from error
        self._producer = Producer({**connection(servers), "message.timeout.ms": 600_000, "log_level": 0})
        self._began_at = time.monotonic()

    def act(self) -> None:
        """Write as many as are due."""
        assert self._producer is not None, "inject() comes first"
        due = (time.monotonic() - self._began_at) * float(self.arguments["per_second"])
        while self._sent < due:
            self._sent += 1
            self._send(self._producer)
        self._producer.poll(0)

    def abort(self) -> None:
        """Let arrive what was written."""
        if self._producer is not None:
            self._producer.flush(_FLUSH_SECONDS)
            self.note(f"{self._sent} records: " + json.dumps(self._kinds))

    def _send(self, producer: Producer) -> None:
        kind = self.chance.choice(["signal", "random", *(_CHANGES if self._samples else ())])
        topic, partition = self.chance.choice([COMMANDS, QUERIES]), self.chance.randrange(self._partitions)
        match kind:
            case "signal":
                topic = signals_topic(self.arguments["client"])
                value: bytes | None = self.chance.choice(_SIGNALS)
                partition = -1
            case "random":
                value = self.chance.randbytes(self.chance.randrange(300))
            case _:
                topic = COMMANDS
                value, partition = self._changed(kind, partition)
        self._kinds[kind] = self._kinds.get(kind, 0) + 1
        producer.produce(topic, value, partition=partition)

    def _changed(self, kind: str, partition: int) -> tuple[bytes | None, int]:
        message = self.chance.choice(self._samples)
        value = bytearray(message.value() or b"")
        match kind:
            case "cut":
                del value[self.chance.randrange(len(value)) :]
            case "lengthened":
                value += self.chance.randbytes(20)
            case "another schema":
                value[2:10] = self.chance.randbytes(8)
            case "a flipped bit":
                # Within marker and fingerprint: a bit of the content might make a command that somebody could send.
                value[self.chance.randrange(10)] ^= 1 << self.chance.randrange(8)
            case "another partition":
                return bytes(value), (int(message.partition() or 0) + 1) % self._partitions
            case _:
                return None, partition
        return bytes(value), partition


_CHANGES = ("cut", "lengthened", "another schema", "a flipped bit", "another partition", "no value")


def _read_samples(servers: str) -> tuple[int, list[Message]]:
    """The number of partitions, and some of the newest commands."""
    consumer = Consumer({**connection(servers), "group.id": "backbeat-drill-poison", "enable.auto.commit": False})
    try:
        topic = consumer.list_topics(COMMANDS, timeout=_ASK_SECONDS).topics[COMMANDS]
        assignment = []
        for partition in topic.partitions:
            first, end = consumer.get_watermark_offsets(TopicPartition(COMMANDS, partition), timeout=_ASK_SECONDS)
            assignment.append(TopicPartition(COMMANDS, partition, max(first, end - _SAMPLES_MAX)))
        consumer.assign(assignment)
        messages = consumer.consume(_SAMPLES_MAX * len(assignment), timeout=3)
        samples = [each for each in messages if each.error() is None and len(each.value() or b"") > _SAMPLE_BYTES_MIN]
        return len(topic.partitions), samples
    finally:
        consumer.close()


_SAMPLE_BYTES_MIN = 10
