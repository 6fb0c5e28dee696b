"""What the engine refuses goes to the dead letters by its own way out."""

from __future__ import annotations

from backbeat.schemas.kafka.dead_letters import dead_letter
from backbeat.schemas.kafka.topics import DEAD_LETTERS
from backbeat.streams.engine.partition import Outbox, Record


def put_aside(outbox: Outbox, record: Record, topic: str, reason: str) -> None:
    """Put a record of this topic aside as it came, by the engine's way out."""
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
