"""Dead letters: a record that cannot be processed, unchanged, with the reason and its origin in the headers.

The topic is a log, so the outcome of a letter follows it: a *mark*, a record without key and value in the same
partition, whose headers have the letter's offset and the outcome. A letter without a mark waits.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

from confluent_kafka import KafkaError, Message, Producer

from backbeat.schemas.kafka.topics import DEAD_LETTER_BYTES_MAX, DEAD_LETTERS

#: Beginning of the names of our headers.
OUR_PREFIX = "backbeat-"
REASON = "backbeat-error"
SOURCE_TOPIC = "backbeat-source-topic"
SOURCE_PARTITION = "backbeat-source-partition"
SOURCE_OFFSET = "backbeat-source-offset"

#: Number of redrives of a record. It stays on the record, so a letter that comes back shows it.
REDRIVEN = "backbeat-redriven"

#: Headers of a mark: the letter's offset, its outcome, the topic it went to, an operator's note.
MARKS = "backbeat-marks"
OUTCOME = "backbeat-outcome"
WENT_TO = "backbeat-went-to"
NOTE = "backbeat-note"
#: Values of OUTCOME.
OUTCOME_REDRIVEN = "redriven"
OUTCOME_DROPPED = "dropped"

#: Our own headers: stripped so that they cannot be spoofed.
_OURS = frozenset({REASON, SOURCE_TOPIC, SOURCE_PARTITION, SOURCE_OFFSET, MARKS, OUTCOME, WENT_TO, NOTE})
#: A reason may quote from the record; the whole record is beside it.
_REASON_CHARACTERS_MAX = 2_000
#: The header is the record's own: whoever writes records may write anything there.
_REDRIVES = re.compile(rb"[0-9]{1,9}")
#: Bytes of the record; the rest is for our headers and Kafka's own.
_CONTENT_BYTES_MAX = DEAD_LETTER_BYTES_MAX - 16 * 1024
#: Bytes of a header beside name and content, at most: the lengths of both.
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
    """Dead letter of a record: its content, why it was refused and its origin, within the topic's record size.

    Compression admits records larger than a dead letter may be: of those only the origin is kept.
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
    """The record's own headers, then the reason and the origin.

    A redriven record that is refused again has the newest reason only.
    """
    return [
        *(header for header in own if header[0] not in _OURS),
        (REASON, reason[:_REASON_CHARACTERS_MAX].encode(errors="replace")),
        (SOURCE_TOPIC, topic.encode()),
        (SOURCE_PARTITION, str(partition).encode()),
        (SOURCE_OFFSET, str(offset).encode()),
    ]


def redrive_headers(headers: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, bytes | None]]:
    """Headers of a redriven letter: the record's own, and its number of redrives."""
    headers = list(headers)
    own = [header for header in headers if header[0] not in _OURS and header[0] != REDRIVEN]
    return [*own, (REDRIVEN, str(1 + redrives_of(headers)).encode())]


def redrives_of(headers: Iterable[tuple[str, bytes | None]]) -> int:
    """Number of redrives that a record's headers say; 0 where they say none."""
    counts = [int(value) for name, value in headers if name == REDRIVEN and value and _REDRIVES.fullmatch(value)]
    return max(counts, default=0)


def mark_headers(offset: int, outcome: str, went_to: str = "", note: str = "") -> list[tuple[str, bytes | None]]:
    """Headers of the mark for the letter at an offset of the same partition."""
    fields = [(MARKS, str(offset)), (OUTCOME, outcome), (WENT_TO, went_to), (NOTE, note)]
    return [(name, value.encode(errors="replace")) for name, value in fields if value]


#: Not called as a method: once such a call is warm, CPython does not check for an exception left beside its result, as
#: the library leaves one, and raises it somewhere later.
_read_headers = operator.methodcaller("headers")


def headers_of(message: Message) -> Headers | None:
    """Headers of a consumed record; None: unreadable, since a name is not UTF-8.

    Kafka takes any bytes for a name. The library raises SystemError for such a one, and would crash on the second read:
    so the message has no headers from then on.
    """
    try:
        # The library types the headers that may be written; those read are always of this type.
        return cast("Headers", _read_headers(message) or [])
    except (SystemError, UnicodeDecodeError):
        message.set_headers([])
        return None


def send(
    producer: Producer, message: Message, reason: str, on_delivery: Callable[[KafkaError | None, Message], None]
) -> None:
    """Produce a record's dead letter (`dead_letter`). BufferError: the producer's queue is full."""
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
