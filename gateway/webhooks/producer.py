"""Producer of records about webhooks: failures for the engine, and dead letters. Used by one thread."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from confluent_kafka import KafkaError, Message

from backbeat.delivery.kafka import make_producer, partition_counts
from backbeat.errors import Unavailable
from backbeat.gateway.webhooks.webhook import Webhook
from backbeat.schemas.codec import encode_command
from backbeat.schemas.kafka import dead_letters
from backbeat.schemas.kafka.topics import COMMANDS
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import DeliveryFailed

_FULL_POLL_SECONDS = 0.1
_FLUSH_SECONDS_MAX = 5.0


class WebhookProducer:
    """Producer that retries without limit. Unavailable: Kafka refuses a record."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._producer = make_producer(bootstrap_servers, {"message.timeout.ms": 0})
        #: Partitions of the commands topic.
        self._partitions = 0
        self._refused: KafkaError | None = None

    def connect(self) -> None:
        """Look up the commands topic. Unavailable: Kafka does not answer."""
        (self._partitions,) = partition_counts(self._producer, self._bootstrap_servers, COMMANDS)

    def poll(self, seconds: float = 0) -> None:
        """Process acknowledgements; waits for one at most `seconds`."""
        self._producer.poll(seconds)
        if self._refused is not None:
            raise Unavailable(f"Kafka does not take a record: {self._refused.str()}")

    def flush(self) -> None:
        """Wait for all acknowledgements, for some seconds at most."""
        self._producer.flush(_FLUSH_SECONDS_MAX)

    def dead_letter(self, message: Message, reason: str, acknowledged: Callable[[], None]) -> None:
        """Send a record that is no activity to the dead letters; the partition goes on."""
        report = self._report(acknowledged)
        self._send(lambda: dead_letters.send(self._producer, message, reason, report))

    def send_failure(self, webhook: Webhook, reason: str, acknowledged: Callable[[Webhook], None]) -> None:
        """Give the node a client error, by the command that an engine sends where it cannot deliver."""
        node = webhook.record.node
        command = DeliveryFailed(
            id=ids.command_id(b"undeliverable", node.id, node.attempt.to_bytes(8, "big")),
            tid=node.tid,
            node_id=node.id,
            attempt=node.attempt,
            response=msgspec.json.encode({"error": {"message": reason}}),
        )
        value, partition = encode_command(command), ids.partition_of(node.id, self._partitions)
        report = self._report(lambda: acknowledged(webhook))
        self._send(lambda: self._producer.produce(COMMANDS, value, node.id, partition=partition, on_delivery=report))

    def _report(self, acknowledged: Callable[[], None]) -> Callable[[KafkaError | None, Message], None]:
        def report(error: KafkaError | None, _: Message) -> None:
            if error is None:
                acknowledged()
            else:
                self._refused = error

        return report

    def _send(self, produce: Callable[[], None]) -> None:
        while True:
            try:
                produce()
            except BufferError:
                self._producer.poll(_FULL_POLL_SECONDS)
            else:
                return
