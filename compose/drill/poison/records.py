# ruff: noqa: PLR2004 - shares of chance, and small counts
"""Records that nobody means: by the schemas, with what breaks things in their fields, and mutated.

The fuzzers' and the drill's: a kind that is added here is fed to both. Everything follows from one random number
generator.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from backbeat.schemas.catalogue import RECORDS
from backbeat.schemas.named_types import NAMESPACE
from backbeat.schemas.varint import write_long

NAMES = ("order", "pay", "ship", "quiet")
SUBJECTS = tuple(b'"subject %d"' % number for number in range(12))

INTS = (0, 0, 1, 1, 2, 3, 5, -1, 127, 128, 2**31 - 1, -(2**31))
LONGS = (*INTS, 2**31, 2**53, 253_402_300_799_999, 253_402_300_800_000, 2**63 - 1, -(2**63), 1_700_000_000_000)
DOUBLES = (0.0, 1.0, -1.0, 0.5, 5e-324, 1e300, -1e300, 1e-9, 60.0, 3600.0, 3.2e9, 3.2e7)
BAD_DOUBLES = (float("nan"), float("inf"), float("-inf"))
_UNKNOWN_BRANCH = 7
TEXTS = (
    *("", " ", "a", "order", "pay", "completed", "canceled", "errored", "resolved", "shutdown", "retry", "cancel"),
    *("resolve", "pause", "resume", "complete", "delete", "decision", "flag", "sent_to_client", "retries_exhausted"),
    *("subject", "metadata.x", "client_data.a[0]", "* * * * *", "0 0 30 2 *", "*/5 * * * 1#3", "UTC", "Europe/Berlin"),
    *("../../etc/passwd", "é", "\x00", "\U0001f600", "x" * 300, "y" * 5_000, '"k"'),
)
JSONS = (
    *(
        b"{}",
        b"{}",
        b"null",
        b"[]",
        b"1",
        b'"x"',
        b'{"timeout":5}',
        b'{"timeout":null}',
        b'{"timeout":"x"}',
        b'{"x":1}',
    ),
    *(b'{"error":{"message":"m"}}', b'{"a":[1,2]}', b'{"timeout":1e999}', b'{"x":1e400}', b'{"x":"\xff"}', b"{", b""),
    *(b"[" * 300 + b"]" * 300, b'{"a":' * 3_000 + b"1" + b"}" * 3_000, b"[" * 5_000, b'{"timeout":%s}' % (b"9" * 400)),
    *(b'{"x":"\\ud800"}', b'"{scheduled_at}"', b'"' + b"z" * 20_000 + b'"', b'{"timeout":-1}', b'{"timeout":true}'),
)
DOCUMENT_FIELDS = (
    *("subject", "client_data", "metadata", "fires_at", "retry", "retry_interval", "client_id", "parent_link_id"),
    *("priority", "fairness_key", "coalesce_key", "coalesce", "mode", "options", "id", "name", "later"),
    *("message", "value", "beside"),
)
DOCUMENT_VALUES = (
    *(b"-1", b"1e999", b"9223372036854775808", b"253402300800000", b'"9999-12-31T23:59:59Z"', b'"0001-01-01"', b"true"),
    *(
        b"9" * 5_000,
        b'"2026-02-30T00:00:00"',
        b'"' + b"a" * 40 + b'"',
        b"1.5",
        b'{"a":{"b":[]}}',
        b'"drop"',
        b'"\\u0000"',
    ),
)


Mutation = Callable[[random.Random, bytearray, int], None]


@cache
def _types(name: str) -> dict[str, Any]:
    """The named types of a record's schema: a name stands for what was spelt out before."""
    types: dict[str, Any] = {}

    def walk(schema: Any) -> None:
        match schema:
            case list():
                for part in schema:
                    walk(part)
            case dict():
                if "name" in schema:
                    types[f"{schema.get('namespace', NAMESPACE)}.{schema['name']}"] = schema
                for field in schema.get("fields", ()):
                    walk(field["type"])
                walk(schema.get("items"))
            case _:
                pass

    walk(RECORDS[name].schema)
    return types


def mutate(chance: random.Random, data: bytearray, mutation: Mutation) -> None:
    """Mutate a record somewhere, most often within its first fields."""
    at = chance.randrange(len(data) + 1) if chance.random() < 0.3 else min(len(data), chance.randrange(10, 60))
    mutation(chance, data, at)


def _replace_byte(chance: random.Random, data: bytearray, at: int) -> None:
    data[at : at + 1] = bytes((chance.randrange(256),))


def _flip_bit(chance: random.Random, data: bytearray, at: int) -> None:
    if at < len(data):
        data[at] ^= 1 << chance.randrange(8)
    else:
        _insert_number(chance, data, at)


def _remove_bytes(chance: random.Random, data: bytearray, at: int) -> None:
    del data[at : at + chance.randrange(1, 9)]


def _insert_bytes(chance: random.Random, data: bytearray, at: int) -> None:
    data[at:at] = chance.randbytes(chance.randrange(1, 9))


def _truncate(_: random.Random, data: bytearray, at: int) -> None:
    del data[at:]


def _insert_number(chance: random.Random, data: bytearray, at: int) -> None:
    data[at:at] = write_long(chance.choice(LONGS))


#: Mutations by name: what each does to a record, at a place.
MUTATIONS: dict[str, Mutation] = {
    "a byte replaced": _replace_byte,
    "a bit flipped": _flip_bit,
    "bytes removed": _remove_bytes,
    "bytes inserted": _insert_bytes,
    "truncated": _truncate,
    "a number inserted": _insert_number,
}
MUTATION_NAMES = tuple(MUTATIONS)


class Records:
    """Draws records by their schemas. `known`: ids that there are."""

    def __init__(self, chance: random.Random, partitions: int, known: Sequence[bytes]) -> None:
        self.chance = chance
        self.partitions = partitions
        self.known = list(known)

    def record(self, name: str) -> bytes:
        """A record of this schema, perhaps mutated."""
        value = self.structured(name)
        return self.mutated(value) if self.chance.random() < 0.5 else value

    def document(self) -> bytes:
        """A record of a signals topic: JSON or Avro, perhaps mutated."""
        chance = self.chance
        if chance.random() < 0.3:
            return self.record(chance.choice(("SignalRequest", "MessageRequest")))
        own = {"decider": b'"D"', "signal": b'"go"'} if chance.random() < 0.8 else {"message": b'"approval"'}
        fields = {"workflow": b'"order"', "subject": b'"s"', **own}
        for name in chance.sample(DOCUMENT_FIELDS, chance.randrange(4)):
            fields[name] = chance.choice(JSONS + DOCUMENT_VALUES)
        value = b"{" + b",".join(b'"%s":%s' % (name.encode(), text) for name, text in fields.items()) + b"}"
        return self.mutated(value) if chance.random() < 0.3 else value

    def structured(self, name: str, *, unknown_branches: bool = False) -> bytes:
        """A record of this schema with anything in its fields; with branches of unions that there are not."""
        self._unknown_branches = unknown_branches
        record = RECORDS[name]
        self._types = _types(name)
        #: How often a field is what nobody means: in some records nowhere, so that the rest is looked at.
        self._wild = self.chance.choice((0.0, 0.05, 0.3))
        return b"\xc3\x01" + record.fingerprint + self._value(record.schema, "", 0)

    def _value(self, schema: Any, field: str, depth: int) -> bytes:
        chance = self.chance
        if isinstance(schema, list):
            null = schema.index("null")
            if self._unknown_branches:
                return write_long(_UNKNOWN_BRANCH)
            if chance.random() < 0.5:
                return write_long(null)
            return write_long(1 - null) + self._value(schema[1 - null], field, depth)
        if isinstance(schema, str) and "." in schema:
            schema = self._types[schema]
        kind = schema if isinstance(schema, str) else schema["type"]
        match kind:
            case "record":
                return b"".join(self._value(part["type"], part["name"], depth + 1) for part in schema["fields"])
            case "array":
                count = chance.choice((0, 0, 1, 2, 5)) if depth < 6 else 0
                items = b"".join(self._value(schema["items"], field, depth + 1) for _ in range(count))
                return (write_long(count) + items if count else b"") + b"\x00"
            case "enum":
                return write_long(chance.randrange(len(schema["symbols"])))
            case "fixed":
                return self._identity()
            case "string":
                text = chance.choice(NAMES) if chance.random() > max(0.3, self._wild) else chance.choice(TEXTS)
                content = text.encode()
                return write_long(len(content)) + content
            case "bytes":
                content = chance.choice(JSONS if chance.random() < max(0.2, self._wild) else (b"{}", *SUBJECTS))
                return write_long(len(content)) + content
            case "int":
                return write_long(self._number(field, INTS))
            case "long":
                return write_long(self._number(field, LONGS))
            case "double":
                doubles = BAD_DOUBLES if chance.random() < self._wild / 10 else DOUBLES
                return struct.pack("<d", chance.choice(doubles))
            case "boolean":
                return bytes((chance.randrange(2),))
            case _:
                raise AssertionError(kind)

    def _number(self, field: str, edges: tuple[int, ...]) -> int:
        chance = self.chance
        if chance.random() < self._wild:
            return chance.choice(edges)
        match field:
            case "partition":
                return chance.randrange(self.partitions)
            case "deadline":
                return 2**62
            case "kind":
                return chance.randrange(1, 10)
            case "offset":
                return chance.randrange(50)
            case "version":
                return 1
            case "priority":
                return chance.randrange(1, 6)
            case _:
                pass
        return chance.choice((0, 1, 1, 2, 3, 1_700_000_000_000 if len(edges) > len(INTS) else 4))

    def _identity(self) -> bytes:
        chance = self.chance
        if chance.random() < 0.7:
            return chance.choice(self.known)
        if chance.random() < 0.5:
            # Beside one that there is: of the same workflow.
            return chance.choice(self.known)[:7] + chance.randbytes(9)
        return chance.choice((bytes(16), b"\xff" * 16, chance.randbytes(16)))

    def mutated(self, value: bytes) -> bytes:
        """The record after one mutation, or several."""
        data = bytearray(value)
        for _ in range(self.chance.choice((1, 1, 2, 8))):
            mutate(self.chance, data, MUTATIONS[MUTATION_NAMES[self.chance.randrange(len(MUTATIONS))]])
        return bytes(data)
