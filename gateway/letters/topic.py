"""Reader of the dead letters' topic: letters, and the marks that tell their outcomes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

from confluent_kafka import Consumer, IsolationLevel, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from backbeat.errors import Unavailable
from backbeat.schemas.kafka.brokers import ASK_SECONDS_MAX, describe, reach, result
from backbeat.schemas.kafka.dead_letters import (
    MARKS,
    NOTE,
    OUR_PREFIX,
    OUTCOME,
    OUTCOME_DROPPED,
    OUTCOME_REDRIVEN,
    REASON,
    SOURCE_OFFSET,
    SOURCE_PARTITION,
    SOURCE_TOPIC,
    WENT_TO,
    headers_of,
    redrives_of,
)
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import ACTIVITIES_PREFIX, DEAD_LETTERS, SIGNALS_PREFIX, TopicError

WAITING = "waiting"
STATES = (WAITING, OUTCOME_REDRIVEN, OUTCOME_DROPPED)

#: Records that are read at once where letters are searched from the end backwards: at first, and at most where none of
#: those before matched and contents are left away.
_WINDOW_RECORDS = 500
_WINDOW_RECORDS_MAX = 4_000
_SILENCE_SECONDS_MAX = 20.0
#: Bytes of a header of ours: a reason is the longest.
_OUR_HEADER_BYTES_MAX = 16 * 1024
#: Above these Kafka counts neither partitions nor offsets.
_PARTITION_MAX = 2**31 - 1
_OFFSET_MAX = 2**63 - 1
_POSITION_CHARACTERS_MAX = 40
_POLL_SECONDS = 0.2


class Position(NamedTuple):
    """Position of a letter: its name for an operator."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}@{self.offset}"

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The position of a text, `0@17` or `17`; None: it is none."""
        partition, separator, offset = text.rpartition("@")
        if len(text) > _POSITION_CHARACTERS_MAX or not offset.isdecimal() or bool(separator) != partition.isdecimal():
            return None
        position = cls(int(partition or 0), int(offset))
        return position if position.partition <= _PARTITION_MAX and position.offset <= _OFFSET_MAX else None


class Mark(NamedTuple):
    """Mark of a letter that was settled."""

    outcome: str
    #: milliseconds since the epoch
    at: int
    went_to: str
    note: str


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A record that was refused."""

    position: Position
    #: time of the refusal, milliseconds since the epoch
    at: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    mark: Mark | None = None

    def header(self, name: str) -> str:
        """A header as text; empty where there is none."""
        values = [value for key, value in self.headers if key == name and value is not None]
        return values[-1].decode(errors="replace") if values else ""

    @property
    def state(self) -> str:
        """`waiting`, `redriven` or `dropped`."""
        return self.mark.outcome if self.mark is not None else WAITING

    @property
    def reason(self) -> str:
        """The reason of the refusal."""
        return self.header(REASON) or "no reason given"

    @property
    def topic(self) -> str:
        """The topic that it came from."""
        return self.header(SOURCE_TOPIC)

    @property
    def client(self) -> str:
        """The client application whose topic that is; empty for the system's topics."""
        for prefix in (SIGNALS_PREFIX, ACTIVITIES_PREFIX):
            if self.topic.startswith(prefix):
                return self.topic.removeprefix(prefix)
        return ""

    @property
    def source(self) -> str:
        """The place in its topic: `backbeat.commands 3@17`."""
        return f"{self.topic or '?'} {self.header(SOURCE_PARTITION) or '?'}@{self.header(SOURCE_OFFSET) or '?'}"

    @property
    def times_redriven(self) -> int:
        """Number of times that the record had been sent in again before it came here."""
        return redrives_of(self.headers)

    @property
    def left_out(self) -> bool:
        """True where the record itself was larger than a dead letter may be, and is not here."""
        return self.value is None and "(left out: " in self.reason


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Filters of letters. All must hold."""

    #: None: in every state
    state: str | None = WAITING
    #: part of the reason, upper and lower case alike
    reason: str = ""
    #: topic of the record, in full
    topic: str = ""
    #: the client applications whose topic that may be; None: any topic
    clients: frozenset[str] | None = None
    #: milliseconds since the epoch: refused not before, and before
    since: int | None = None
    until: int | None = None

    @property
    def narrows(self) -> bool:
        """True where any filter but the state is given."""
        return bool(self.reason or self.topic) or (self.clients, self.since, self.until) != (None, None, None)

    def match(self, letter: DeadLetter) -> bool:
        """True for a letter that all filters hold for."""
        return (
            (self.state is None or letter.state == self.state)
            and self.reason.lower() in letter.reason.lower()
            and (not self.topic or letter.topic == self.topic)
            and (self.clients is None or letter.client in self.clients)
            and (self.since is None or letter.at >= self.since)
            and (self.until is None or letter.at < self.until)
        )


class DeadLetterTopic:
    """A reader of the topic. Joins no group and commits nothing."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._admin: AdminClient = reach(bootstrap_servers)
        topic = describe(self._admin, [DEAD_LETTERS]).get(DEAD_LETTERS)
        if topic is None:
            raise TopicError(DEAD_LETTERS, "none", "a topic", "run `backbeat topics create`")
        self.partitions = range(topic.partitions)
        self._consumer = Consumer(
            {
                **connection(bootstrap_servers),
                # Required by the library.
                "group.id": "backbeat-dead-letters",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                # What is fetched ahead of a window is fetched for nothing (default: 64 MB). And how soon is looked
                # again when that was reached (default: 1 s).
                "queued.min.messages": _WINDOW_RECORDS,
                "queued.max.messages.kbytes": 2_048,
                "fetch.queue.backoff.ms": 2,
                "log_level": 2,
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def ends(self, partition: int) -> tuple[int, int]:
        """First offset of a partition, and the one after its last."""
        place = TopicPartition(DEAD_LETTERS, partition)
        offsets = []
        for spec in (OffsetSpec.earliest(), OffsetSpec.latest()):  # type: ignore[no-untyped-call]
            futures = self._admin.list_offsets(
                {place: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=ASK_SECONDS_MAX
            )
            offsets.append(result(futures[place]).offset)
        return offsets[0], offsets[1]

    def newest(
        self,
        count: int,
        match: Callable[[DeadLetter], bool],
        before: Position | None = None,
        *,
        contents: bool = True,
        seconds_max: float = math.inf,
    ) -> tuple[list[DeadLetter], Position | None]:
        """The newest letters of each partition, oldest first; and the position before which there may be more.

        Of each partition it looks no further back after `seconds_max`, but somewhat further than `before`: whoever asks
        for older ones again and again comes to the end.
        """
        letters: list[DeadLetter] = []
        older_than: Position | None = None
        for partition in self.partitions:
            if before is not None and partition != before.partition:
                continue
            partition_letters, older = self._newest_of(
                partition, count, match, before, contents=contents, seconds_max=seconds_max
            )
            letters += partition_letters
            older_than = older or older_than
        return letters, older_than

    def _newest_of(
        self,
        partition: int,
        count: int,
        match: Callable[[DeadLetter], bool],
        before: Position | None,
        *,
        contents: bool,
        seconds_max: float,
    ) -> tuple[list[DeadLetter], Position | None]:
        low, high = self.ends(partition)
        # A letter's mark stands behind it: read backwards, it is known before its letter comes.
        marks: dict[int, Mark] = {}
        letters: list[DeadLetter] = []
        end_at = math.inf
        window_records = _WINDOW_RECORDS
        while high > low and len(letters) <= count and time.monotonic() < end_at:
            start = max(low, high - window_records)
            window = list(self._read(partition, start, high, marks, contents=contents))
            marked_letters = (self._with_mark(letter, marks) for letter in window)
            is_before = before.offset if before is not None else None
            matching = [
                letter
                for letter in marked_letters
                if match(letter) and (is_before is None or letter.position.offset < is_before)
            ]
            letters[:0] = matching
            if not contents:
                window_records = _WINDOW_RECORDS if matching else min(2 * window_records, _WINDOW_RECORDS_MAX)
            if end_at == math.inf and (before is None or start < before.offset):
                # Marks that stand behind `before` are read whatever it takes.
                end_at = time.monotonic() + seconds_max
            high = start
        if len(letters) > count:
            letters = letters[-count:]
            return letters, letters[0].position
        if high <= low:
            return letters, None
        return letters, Position(partition, high if before is None else min(high, before.offset))

    def find(self, match: Callable[[DeadLetter], bool]) -> list[DeadLetter]:
        """All matching letters, oldest first of each partition, without their contents."""
        matching: list[DeadLetter] = []
        for partition in self.partitions:
            marks: dict[int, Mark] = {}
            low, high = self.ends(partition)
            letters = list(self._read(partition, low, high, marks, contents=False))
            marked_letters = (self._with_mark(letter, marks) for letter in letters)
            matching += [letter for letter in marked_letters if match(letter)]
        return matching

    def get(self, positions: list[Position]) -> Iterator[DeadLetter]:
        """The letters at these positions, whole, in their order; a position where no letter stands is left out.

        Their marks are looked for up to the end of each partition.
        """
        for partition in sorted({position.partition for position in positions}):
            if partition not in self.partitions:
                continue
            offsets = {position.offset for position in positions if position.partition == partition}
            low, high = self.ends(partition)
            first = max(low, min(offsets))
            marks: dict[int, Mark] = {}
            for _ in self._read(partition, first, high, marks, contents=False):
                pass
            for letter in self._read(partition, first, min(high, max(offsets) + 1), {}):
                if letter.position.offset in offsets:
                    yield self._with_mark(letter, marks)

    def _read(
        self, partition: int, start: int, end: int, marks: dict[int, Mark], *, contents: bool = True
    ) -> Iterator[DeadLetter]:
        """Letters from one offset to before another; marks on the way are put into `marks`."""
        if start >= end:
            return
        place = TopicPartition(DEAD_LETTERS, partition, start)
        self._consumer.assign([place])
        position, deadline = start, time.monotonic() + _SILENCE_SECONDS_MAX
        while position < end:
            message = self._consumer.poll(_POLL_SECONDS)
            if message is None:
                # A transaction's marker may stand at the end: it is no record, and the position passes it.
                position = max(position, self._consumer.position([place])[0].offset)
                if position < end and time.monotonic() > deadline:
                    raise Unavailable(
                        f"{DEAD_LETTERS} {partition}@{position} cannot be read. What to do: see that Kafka runs."
                    )
                continue
            deadline = time.monotonic() + _SILENCE_SECONDS_MAX
            error = message.error()
            if error is not None:
                raise KafkaException(error)
            offset = message.offset()
            assert offset is not None
            position = offset + 1
            if position > end:
                return
            letter = _letter(message, Position(partition, offset), contents=contents)
            marked_offset = letter.header(MARKS)
            if not marked_offset or letter.header(REASON):
                yield letter
            elif marked_offset.isdigit():
                mark = Mark(letter.header(OUTCOME), letter.at, letter.header(WENT_TO), letter.header(NOTE))
                # Read backwards, window by window, the newest mark of a letter comes first.
                known_mark = marks.get(int(marked_offset))
                if known_mark is None or known_mark.at <= mark.at:
                    marks[int(marked_offset)] = mark

    @staticmethod
    def _with_mark(letter: DeadLetter, marks: dict[int, Mark]) -> DeadLetter:
        mark = marks.get(letter.position.offset)
        if mark is None:
            return letter
        return DeadLetter(
            position=letter.position,
            at=letter.at,
            key=letter.key,
            value=letter.value,
            headers=letter.headers,
            mark=mark,
        )


def _letter(message: Message, position: Position, *, contents: bool) -> DeadLetter:
    headers = headers_of(message) or []
    if not contents:
        # The record's own may be as large as its content.
        headers = [
            (name, value)
            for name, value in headers
            if name.startswith(OUR_PREFIX) and len(value or b"") <= _OUR_HEADER_BYTES_MAX
        ]
    return DeadLetter(
        position=position,
        at=message.timestamp()[1],
        key=message.key() if contents else None,
        value=message.value() if contents else None,
        headers=headers,
    )
