"""Kinds of poison: records that nobody should write, of every kind of the fuzzers, none of which anything may take.

A record that could be taken does harm: each is read as an engine reads it, and another is drawn until it is refused.
Queries change nothing, so theirs may be readable.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from backbeat.compose.drill.poison.records import MUTATIONS, Records, mutate
from backbeat.schemas import codec
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.topics import COMMANDS, QUERIES, signals_topic
from backbeat.schemas.named_types import COMMANDS as COMMAND_TYPES
from backbeat.schemas.named_types import QUERIES as QUERY_TYPES
from backbeat.streams.core.step import Refused
from backbeat.streams.input.validate import check_command

_LARGE_BYTES = 300_000
_TRIES_MAX = 200
#: Marker and fingerprint of a record.
_HEAD_BYTES = 10

#: Signals in JSON that are none: of every kind that the ingest refuses.
SIGNALS = (
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


class Sample(NamedTuple):
    """A command that somebody has sent, and where it lies."""

    value: bytes
    partition: int


class PoisonRecord(NamedTuple):
    """A record of a kind, and where it goes; `partition` -1: any."""

    kind: str
    topic: str
    value: bytes | None
    partition: int


class Poisons:
    """Drawer of poison: kinds in turn, in an order by chance, so that each has come after as many as there are."""

    def __init__(self, chance: random.Random, partitions: int, samples: Sequence[Sample], client: str) -> None:
        self._chance = chance
        self._partitions = partitions
        self._samples = samples
        self._signals = signals_topic(client)
        # Ids that nobody has: what is readable of a record meets nothing.
        self._records = Records(chance, partitions, [chance.randbytes(16) for _ in range(4)])
        self._turns: list[str] = []
        self._draws: dict[str, Callable[[], PoisonRecord | None]] = {
            "random bytes": self._random,
            "a signal that is none": self._signal,
            "a signal with fields of any kind": self._document,
            "a signal by the schema": self._by_schema_signal,
            "a command by the schema": self._command,
            "a command with a branch that there is not": lambda: self._command(unknown_branches=True),
            "a query by the schema": self._query,
            "a query that was mutated": lambda: self._query(mutated=True),
            "a query with a branch that there is not": lambda: self._query(unknown_branches=True),
        }
        if samples:
            self._draws |= {f"a command, {name}": self._mutated(name) for name in MUTATIONS}
            self._draws |= {
                "a command, lengthened": lambda: self._changed(lambda value: value + chance.randbytes(20)),
                "a command of another schema": lambda: self._changed(
                    lambda value: value[:2] + chance.randbytes(8) + value[_HEAD_BYTES:]
                ),
                "a command in another partition": self._misplaced,
                "no value": lambda: PoisonRecord("", COMMANDS, None, self._partition()),
            }

    @property
    def kinds(self) -> list[str]:
        """All kinds that there are here."""
        return list(self._draws)

    def draw(self) -> PoisonRecord:
        """The next record."""
        while True:
            if not self._turns:
                self._turns = self._chance.sample(self.kinds, len(self._draws))
            kind = self._turns.pop()
            for _ in range(_TRIES_MAX):
                if (record := self._draws[kind]()) is not None:
                    return record._replace(kind=kind)

    def _partition(self) -> int:
        return self._chance.randrange(self._partitions)

    def _random(self) -> PoisonRecord | None:
        topic = self._chance.choice((COMMANDS, QUERIES))
        return self._refused(self._chance.randbytes(self._chance.randrange(300)), topic)

    # --- signals ---------------------------------------------------------------------------------------------------

    def _signal(self) -> PoisonRecord:
        return PoisonRecord("", self._signals, self._chance.choice(SIGNALS), -1)

    def _document(self) -> PoisonRecord | None:
        return self._refused_signal(self._records.document())

    def _by_schema_signal(self) -> PoisonRecord | None:
        return self._refused_signal(self._records.record(self._chance.choice(("SignalRequest", "MessageRequest"))))

    def _refused_signal(self, value: bytes) -> PoisonRecord | None:
        try:
            codec.decode_request(value, None)
        except DecodeError:
            return PoisonRecord("", self._signals, value, -1)
        return None

    # --- commands and queries --------------------------------------------------------------------------------------

    def _command(self, *, unknown_branches: bool = False) -> PoisonRecord | None:
        name = self._chance.choice(COMMAND_TYPES).__name__
        return self._refused(self._records.structured(name, unknown_branches=unknown_branches))

    def _query(self, *, unknown_branches: bool = False, mutated: bool = False) -> PoisonRecord:
        name = self._chance.choice(QUERY_TYPES).__name__
        value = self._records.structured(name, unknown_branches=unknown_branches)
        return PoisonRecord("", QUERIES, self._records.mutated(value) if mutated else value, self._partition())

    def _mutated(self, name: str) -> Callable[[], PoisonRecord | None]:
        def draw() -> PoisonRecord | None:
            data = bytearray(self._chance.choice(self._samples).value)
            mutate(self._chance, data, MUTATIONS[name])
            return self._refused(bytes(data))

        return draw

    def _changed(self, change: Callable[[bytes], bytes]) -> PoisonRecord | None:
        return self._refused(change(self._chance.choice(self._samples).value))

    def _misplaced(self) -> PoisonRecord | None:
        sample = self._chance.choice(self._samples)
        return self._refused(sample.value, partition=(sample.partition + 1) % self._partitions)

    def _refused(self, value: bytes, topic: str = COMMANDS, partition: int | None = None) -> PoisonRecord | None:
        """The record, if no engine takes it as a command."""
        place = self._partition() if partition is None else partition
        if is_refused(value, place, self._partitions):
            return PoisonRecord("", topic, value, place)
        return None


def is_refused(value: bytes, partition: int, partitions: int) -> bool:
    """True where no engine takes a record of this partition as a command, whatever its state is."""
    try:
        command = codec.decode_command(value)
    except DecodeError:
        return True
    if command.source is not None:
        # Whether it is a repeat depends on what the engine has.
        return False
    try:
        check_command(command, partition, 0, partitions)
    except Refused:
        return True
    return False
