"""Settling of dead letters: sent in again where they came from, or dropped; and marked as that.

A letter is sent, acknowledged, and only then marked. Killed in between it still waits, and is sent once more: the
record is the same, with the same command id, so the engine recognises the repeat.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, cast

from confluent_kafka import KafkaError, Message, Producer

from backbeat.errors import Unavailable
from backbeat.gateway.letters.topic import DeadLetter
from backbeat.schemas.codec import decode_command
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.brokers import describe, reach
from backbeat.schemas.kafka.dead_letters import (
    OUTCOME_DROPPED,
    OUTCOME_REDRIVEN,
    SOURCE_OFFSET,
    SOURCE_PARTITION,
    mark_headers,
    redrive_headers,
)
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import COMMANDS, DEAD_LETTER_BYTES_MAX, DEAD_LETTERS, SIGNALS_PREFIX
from backbeat.schemas.requests.fields import ID_HEADER

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

_BATCH_LETTERS = 200
_SEND_SECONDS_MAX = 30.0

Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Outcome of settling a letter."""

    letter: DeadLetter
    #: place of the record: `backbeat.commands 3@17`; empty where it was not sent
    went_to: str = ""
    #: reason why it still waits; empty: it does not
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class _Target:
    topic: str
    partition: int


class Resolver:
    """Sends letters in again or drops them, and marks them."""

    def __init__(self, bootstrap_servers: str, note: str = "") -> None:
        self._admin: AdminClient = reach(bootstrap_servers)
        self._note = note
        self._partitions: dict[str, int | None] = {}
        self._producer = Producer(
            {
                **connection(bootstrap_servers),
                "acks": "all",
                # In their order, each once, as far as this process goes.
                "enable.idempotence": True,
                "message.timeout.ms": round(_SEND_SECONDS_MAX * 1000),
                "message.max.bytes": DEAD_LETTER_BYTES_MAX,
                "log_level": 2,
            }
        )

    def redrive(self, letters: Iterable[DeadLetter]) -> Iterator[Outcome]:
        """Send letters in again, in their order, and mark those that were taken."""
        for batch in _batches(letters):
            outcomes = self._send_all(batch)
            marks = [(outcome.letter, OUTCOME_REDRIVEN, outcome.went_to) for outcome in outcomes if not outcome.error]
            self._mark_all(marks)
            yield from outcomes

    def drop(self, letters: Iterable[DeadLetter]) -> Iterator[Outcome]:
        """Mark letters as nobody's concern any more. They stay in the topic."""
        for batch in _batches(letters):
            self._mark_all([(letter, OUTCOME_DROPPED, "") for letter in batch])
            yield from (Outcome(letter=letter) for letter in batch)

    def why_not(self, letter: DeadLetter) -> str:
        """Reason why a letter cannot be sent in again; empty: it can."""
        target = self._target(letter)
        return target if isinstance(target, str) else ""

    def _target(self, letter: DeadLetter) -> _Target | str:
        """Target of a letter, or the reason why it has none."""
        if letter.left_out:
            return "the record was too large to be kept"
        partition_text = letter.header(SOURCE_PARTITION)
        if not letter.topic or not partition_text.isdigit():
            return "it does not say where it came from"
        if letter.topic not in self._partitions:
            description = describe(self._admin, [letter.topic]).get(letter.topic)
            self._partitions[letter.topic] = None if description is None else description.partitions
        partitions = self._partitions[letter.topic]
        if partitions is None:
            return f"there is no topic {letter.topic} any more"
        if int(partition_text) >= partitions:
            return f"{letter.topic} has no partition {partition_text}"
        if letter.topic == COMMANDS and _is_of_engine(letter.value):
            return (
                "it is a command of an engine's own, which engines would take for a repeat. What to do: retry or reset "
                "the node that it is about"
            )
        return _Target(topic=letter.topic, partition=int(partition_text))

    def _send_all(self, letters: list[DeadLetter]) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        for index, letter in enumerate(letters):
            target = self._target(letter)
            if isinstance(target, str):
                outcomes[index] = Outcome(letter=letter, error=target)
                continue

            def reported(
                error: KafkaError | None, message: Message, *, index: int = index, letter: DeadLetter = letter
            ) -> None:
                went_to = f"{message.topic()} {message.partition()}@{message.offset()}"
                outcomes[index] = Outcome(
                    letter=letter, went_to="" if error else went_to, error=error.str() if error else ""
                )

            self._produce(
                target.topic, headers_back(letter), reported, key=letter.key, value=letter.value, to=target.partition
            )
        self._flush()
        return [outcomes[index] for index in range(len(letters))]

    def _mark_all(self, marks: list[tuple[DeadLetter, str, str]]) -> None:
        errors: list[KafkaError] = []

        def reported(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                errors.append(error)

        for letter, outcome, went_to in marks:
            headers = mark_headers(letter.position.offset, outcome, went_to, self._note)
            self._produce(DEAD_LETTERS, headers, reported, to=letter.position.partition)
        self._flush()
        if errors:
            raise Unavailable(
                f"marks could not be written to {DEAD_LETTERS}: {errors[0].str()}. "
                "What to do: do the same again; what was sent in already is recognised as a repeat."
            )

    def _produce(
        self,
        topic: str,
        headers: Headers,
        reported: Callable[[KafkaError | None, Message], None],
        *,
        to: int,
        key: bytes | None = None,
        value: bytes | None = None,
    ) -> None:
        while True:
            try:
                self._producer.produce(
                    topic,
                    key=key,
                    value=value,
                    partition=to,
                    headers=cast("list[tuple[str, str | bytes | None]]", headers),
                    on_delivery=reported,
                )
            except BufferError:
                self._producer.poll(1.0)
            else:
                return

    def _flush(self) -> None:
        # Every record is delivered or given up within this time, so that every report comes.
        if self._producer.flush(_SEND_SECONDS_MAX * 2):
            raise Unavailable("Kafka does not answer. What to do: see that it runs, and do the same again.")


def _is_of_engine(value: bytes | None) -> bool:
    try:
        return decode_command(value).source is not None
    except DecodeError:
        return False


def headers_back(letter: DeadLetter) -> Headers:
    """Headers with which a letter goes back.

    A signal that has no id of its own is known by its place in its topic, which will be another one: it gets an id that
    follows from its position and content, the same however often it is sent in.
    """
    headers = redrive_headers(letter.headers)
    if letter.topic.startswith(SIGNALS_PREFIX) and not any(name == ID_HEADER and value for name, value in headers):
        content = hashlib.blake2b((letter.key or b"") + b"\0" + (letter.value or b""), digest_size=8).hexdigest()
        place = f"{letter.topic}/{letter.header(SOURCE_PARTITION)}@{letter.header(SOURCE_OFFSET)}/{content}"
        headers.append((ID_HEADER, place.encode()))
    return headers


def _batches(letters: Iterable[DeadLetter]) -> Iterator[list[DeadLetter]]:
    remaining = iter(letters)
    while batch := list(islice(remaining, _BATCH_LETTERS)):
        yield batch
