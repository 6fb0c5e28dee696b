"""Dead letters: a record that cannot be processed, as it came, with the reason and where it stood in its headers.

The topic is a log, so what became of a letter stands behind it: a *mark*, a record without key and value in the same
partition, whose headers say which offset it is about and what was done. A letter without a mark waits.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

from confluent_kafka import KafkaError, Message, Producer

from backbeat.schemas.kafka.topics import DEAD_LETTER_BYTES_MAX, DEAD_LETTERS

REASON = "backbeat-error"
SOURCE_TOPIC = "backbeat-source-topic"
SOURCE_PARTITION = "backbeat-source-partition"
SOURCE_OFFSET = "backbeat-source-offset"

#: On a record that was sent in again: how often. It stays on it, so a letter that comes back says so.
REDRIVEN = "backbeat-redriven"

#: Of a mark: the letter's offset, what was done with it, where it went, an operator's words.
MARKS = "backbeat-marks"
OUTCOME = "backbeat-outcome"
WENT_TO = "backbeat-went-to"
NOTE = "backbeat-note"
#: What OUTCOME says.
OUTCOME_REDRIVEN = "redriven"
OUTCOME_DROPPED = "dropped"

#: A record that came with one of these would pass for what it is not.
_OURS = frozenset({REASON, SOURCE_TOPIC, SOURCE_PARTITION, SOURCE_OFFSET, MARKS, OUTCOME, WENT_TO, NOTE})
#: A reason may quote what it refuses; the whole record is beside it.
_REASON_CHARACTERS_MAX = 2_000
#: The record as it came; the rest is for our headers and Kafka's own.
_CONTENT_BYTES_MAX = DEAD_LETTER_BYTES_MAX - 16 * 1024
#: What a header takes beside its name and content, at most: the lengths of both.
_HEADER_BYTES = 10

Headers = list[tuple[str, bytes | None]]


class DeadLetter(NamedTuple):
    """A record of the dead letters' topic."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def dead_letter(
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes | None]] | None,
    *,
    reason: str,
    topic: str,
    partition: int,
    offset: int,
) -> DeadLetter:
    """A record as it came, why it was refused, and where it stood, as one that the topic takes in any case.

    Compression lets records in that are larger than a dead letter may be: of those, where they stood is what is kept.
    """
    own: Headers = list(headers or ())
    size = len(key or b"") + len(value or b"")
    size += sum(len(name.encode()) + len(content or b"") + _HEADER_BYTES for name, content in own)
    if size > _CONTENT_BYTES_MAX:
        key, value, own = None, None, []
        reason = (
            f"{reason[: _REASON_CHARACTERS_MAX // 2]} (left out: {size} bytes are more than a dead letter may have)"
        )
    return DeadLetter(key, value, _headers(own, reason=reason, topic=topic, partition=partition, offset=offset))


def _headers(own: Headers, *, reason: str, topic: str, partition: int, offset: int) -> Headers:
    """The record's own headers, then why it was refused and where it came from.

    One that was a dead letter before, and was sent in again, has the newest reason only.
    """
    return [
        *(header for header in own if header[0] not in _OURS),
        (REASON, reason[:_REASON_CHARACTERS_MAX].encode(errors="replace")),
        (SOURCE_TOPIC, topic.encode()),
        (SOURCE_PARTITION, str(partition).encode()),
        (SOURCE_OFFSET, str(offset).encode()),
    ]


def redrive_headers(headers: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, bytes | None]]:
    """The headers with which a letter goes back: the record's own, and how often it has been sent in again."""
    headers = list(headers)
    before = [int(value) for name, value in headers if name == REDRIVEN and value is not None and value.isdigit()]
    own = [header for header in headers if header[0] not in _OURS and header[0] != REDRIVEN]
    return [*own, (REDRIVEN, str(1 + max(before, default=0)).encode())]


def mark_headers(offset: int, outcome: str, went_to: str = "", note: str = "") -> list[tuple[str, bytes | None]]:
    """The headers of the mark that says what was done with the letter at an offset of the same partition."""
    said = [(MARKS, str(offset)), (OUTCOME, outcome), (WENT_TO, went_to), (NOTE, note)]
    return [(name, value.encode()) for name, value in said if value]


#: Not called as a method: once such a call is warm, CPython does not look whether an exception was left beside its
#: result, as the library leaves one, and raises it somewhere behind.
_read_headers = operator.methodcaller("headers")


def headers_of(message: Message) -> Headers | None:
    """A record's headers as they were read; None: they cannot be, since a name is no UTF-8.

    Kafka takes any bytes for a name. The library raises SystemError where it is asked for such a one, and would crash
    where it is asked again: so the message has none from then on.
    """
    try:
        # The library types what may be written; what is read is always this.
        return cast("Headers", _read_headers(message) or [])
    except (SystemError, UnicodeDecodeError):
        message.set_headers([])
        return None


def send(
    producer: Producer, message: Message, reason: str, on_delivery: Callable[[KafkaError | None, Message], None]
) -> None:
    """Put a record aside as it came (`dead_letter`). BufferError when the producer's queue is full."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    letter = dead_letter(
        message.key(),
        message.value(),
        headers_of(message) or [],
        reason=reason,
        topic=topic,
        partition=partition,
        offset=offset,
    )
    producer.produce(
        DEAD_LETTERS,
        key=letter.key,
        value=letter.value,
        headers=cast("list[tuple[str, str | bytes | None]]", letter.headers),
        on_delivery=on_delivery,
    )
