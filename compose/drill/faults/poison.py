"""Fault of records: what nobody should write, written to the topics that many write to."""

from __future__ import annotations

import json
import time
from collections import Counter

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from backbeat.compose.drill.faults.fault import Fault, FaultError
from backbeat.compose.drill.poison.kinds import Poisons, Sample
from backbeat.schemas.kafka.security import Brokers, connection
from backbeat.schemas.kafka.topics import COMMANDS

_ASK_SECONDS = 20.0
_FLUSH_SECONDS = 60.0
_SAMPLES_MAX = 50


class Poison(Fault):
    """Writes bad records at `per_second`, of all kinds in turn (`kinds`).

    `bootstrap_servers` and `client` say where; `plain`: without encryption, whatever the environment says. Records of
    `backbeat.commands` are copied, then mutated in each way of the fuzzers, given another schema's fingerprint or
    another partition; others are made by the schemas, with what breaks things in their fields.
    """

    _producer: Producer | None = None
    _due = 0.0
    _began_at = 0.0
    _sent = 0
    _kinds: Counter[str]
    _poisons: Poisons

    def inject(self) -> None:
        """Look at the records that there are."""
        servers = self.arguments["bootstrap_servers"]
        if self.arguments.get("plain"):
            servers = Brokers(servers)
        self._kinds = Counter()
        try:
            partitions, samples = _read_samples(servers)
        except KafkaException as error:
            raise FaultError(f"Kafka at {servers}: {error}") from error
        self._poisons = Poisons(self.chance, partitions, samples, self.arguments["client"])
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
        record = self._poisons.draw()
        self._kinds[record.kind] += 1
        producer.produce(record.topic, record.value, partition=record.partition)


def _read_samples(servers: str) -> tuple[int, list[Sample]]:
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
        samples = [
            Sample(each.value() or b"", int(each.partition() or 0))
            for each in messages
            if each.error() is None and len(each.value() or b"") > _SAMPLE_BYTES_MIN
        ]
        return len(topic.partitions), samples
    finally:
        consumer.close()


_SAMPLE_BYTES_MIN = 10
