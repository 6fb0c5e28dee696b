"""Commands of the engine itself, to the partitions of what they are about."""

from __future__ import annotations

import msgspec

from backbeat.schemas import codec
from backbeat.schemas.kafka.topics import COMMANDS
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import AnyCommand, DeliveryFailed
from backbeat.schemas.messages.values import Source
from backbeat.schemas.routes import route
from backbeat.streams.ports.log import Outbox


class CommandSender:
    """The sender of commands. They come back as input, in their partition's order."""

    def __init__(self, outbox: Outbox, partitions_count: int) -> None:
        self._outbox = outbox
        self._partitions_count = partitions_count

    def send(self, command: AnyCommand, source: Source | None) -> None:
        """Send a command to the partition of its subject."""
        identity = route(command)
        assert identity is not None, "no command of the engine goes to every partition"
        self._outbox.send(
            COMMANDS,
            codec.encode_command(command, source),
            key=identity,
            partition=ids.partition_of(identity, self._partitions_count),
        )

    def broadcast(self, command: AnyCommand, source: Source) -> None:
        """Send a command to every partition."""
        value = codec.encode_command(command, source)
        for number in range(self._partitions_count):
            self._outbox.send(COMMANDS, value, key=command.id, partition=number)

    def delivery_failed(self, node_id: bytes, attempt: int, reason: str) -> None:
        """Send DeliveryFailed for an activity that can never be delivered: a client error of its node."""
        response = msgspec.json.encode({"error": {"message": reason}})
        identity = ids.command_id(b"undeliverable", node_id, attempt.to_bytes(8, "big"))
        self.send(DeliveryFailed(id=identity, node_id=node_id, attempt=attempt, response=response), None)
