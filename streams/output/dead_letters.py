"""Dead letters of the engine, sent by its own outbox."""

from __future__ import annotations

from backbeat.schemas.kafka.dead_letters import dead_letter
from backbeat.schemas.kafka.topics import DEAD_LETTERS
from backbeat.streams.ports.log import Outbox, Record


def put_aside(outbox: Outbox, record: Record, topic: str, reason: str) -> None:
    """Send a record of `topic` to the dead letters, as it came."""
    letter = dead_letter(
        record.key,
        record.value or b"",
        record.headers,
        reason=reason,
        topic=topic,
        partition=record.partition,
        offset=record.offset,
    )
    outbox.send(DEAD_LETTERS, letter.value, key=letter.key, headers=letter.headers)
