"""Records that somebody might write: structured by the schemas, with what breaks things in their fields, and mutated.

Everything follows from one random number generator. Half of the ids are ones that there are, so that what is generated
meets what is stored.
"""

from __future__ import annotations

import random
import struct
import uuid
from functools import cache
from typing import Any

from backbeat.schemas import codec, routes
from backbeat.schemas.catalogue import RECORDS
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.limits import LimitValues
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.named_types import COMMANDS, NAMESPACE, QUERIES
from backbeat.schemas.varint import write_long

USERS = (b"alice-alice-alic", b"bob-bob-bob-bob-")
SUBJECTS = tuple(b'"subject %d"' % number for number in range(12))
NAMES = ("order", "pay", "ship", "quiet")
KEYS = (None, "a", "b")
STATUSES = ("completed", "completed", "errored", "processing", "resolved", "shutdown", "canceled", "deactivated")

_INTS = (0, 0, 1, 1, 2, 3, 5, -1, 127, 128, 2**31 - 1, -(2**31))
_LONGS = (*_INTS, 2**31, 2**53, 253_402_300_799_999, 253_402_300_800_000, 2**63 - 1, -(2**63), 1_700_000_000_000)
_DOUBLES = (0.0, 1.0, -1.0, 0.5, 5e-324, 1e300, -1e300, 1e-9, 60.0, 3600.0, 3.2e9, 3.2e7)
_BAD_DOUBLES = (float("nan"), float("inf"), float("-inf"))
_TEXTS = (
    *("", " ", "a", "order", "pay", "completed", "canceled", "errored", "resolved", "shutdown", "retry", "cancel"),
    *("resolve", "pause", "resume", "complete", "delete", "decision", "flag", "sent_to_client", "retries_exhausted"),
    *("subject", "metadata.x", "client_data.a[0]", "* * * * *", "0 0 30 2 *", "*/5 * * * 1#3", "UTC", "Europe/Berlin"),
    *("../../etc/passwd", "é", "\x00", "\U0001f600", "x" * 300, "y" * 5_000, '"k"'),
)
_JSONS = (
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
_DOCUMENT_FIELDS = (
    *("subject", "client_data", "metadata", "fires_at", "retry", "retry_interval", "client_id", "parent_link_id"),
    *("priority", "fairness_key", "coalesce_key", "coalesce", "mode", "options", "id", "name", "later"),
    *("message", "value", "beside"),
)
_DOCUMENT_VALUES = (
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

    walk(RECORDS[name].schema)
    return types


class Generator:
    """Draws records. `known`: ids that there are, filled by whoever applies them."""

    def __init__(self, seed: int, partitions: int) -> None:
        self.chance = random.Random(f"fuzz {seed}")
        self.partitions = partitions
        self.known: list[bytes] = [*USERS]
        #: (node, attempt) that a worker could answer
        self.sent: list[tuple[bytes, int]] = []
        self._count = 0

    def note(self, identity: bytes) -> None:
        """There is something of this id."""
        if len(self.known) < 400:
            self.known.append(identity)
        else:
            self.known[self.chance.randrange(len(USERS), 400)] = identity

    # --- one record --------------------------------------------------------------------------------------------------

    def command(self) -> tuple[bytes, int]:
        """A record of the commands topic, and the partition that it is put into."""
        kind = self.chance.random()
        if kind < 0.4:
            command = self._sane()
            value, route = codec.encode_command(command), routes.route(command)
            if self.chance.random() < 0.2:
                value = self._mutated(value)
        else:
            value, route = self._structured(self.chance.choice(COMMANDS).__name__), None
            if kind > 0.9:
                value = self._mutated(value)
        return value, self._partition(value, route)

    def query(self) -> tuple[bytes, int]:
        """A record of the queries topic."""
        value = self._structured(self.chance.choice(QUERIES).__name__)
        if self.chance.random() < 0.15:
            value = self._mutated(value)
        return value, self.chance.randrange(self.partitions)

    def record(self, name: str) -> bytes:
        """A record of this schema, perhaps mutated."""
        value = self._structured(name)
        return self._mutated(value) if self.chance.random() < 0.5 else value

    def document(self) -> bytes:
        """A record of a signals topic: JSON or Avro, perhaps mutated."""
        chance = self.chance
        if chance.random() < 0.3:
            return self.record(chance.choice(("SignalRequest", "MessageRequest")))
        own = {"decider": b'"D"', "signal": b'"go"'} if chance.random() < 0.8 else {"message": b'"approval"'}
        fields = {"workflow": b'"order"', "subject": b'"s"', **own}
        for name in chance.sample(_DOCUMENT_FIELDS, chance.randrange(4)):
            fields[name] = chance.choice(_JSONS + _DOCUMENT_VALUES)
        value = b"{" + b",".join(b'"%s":%s' % (name.encode(), text) for name, text in fields.items()) + b"}"
        return self._mutated(value) if chance.random() < 0.3 else value

    def client(self) -> tuple[bytes, bytes]:
        """A record of the registry: its key and value."""
        chance = self.chance
        identity = str(uuid.UUID(bytes=chance.choice(USERS))).encode()
        value = b'{"id":"%s","name":"shop","delivery":"topic","token_hash":%s,"later":%s}' % (
            chance.choice((identity, identity, b"x", b"", identity.upper())),
            chance.choice((b'""', b"null", b"1")),
            chance.choice(_JSONS),
        )
        key = chance.choice((identity, identity, b"", b"\xff", b"x" * 36))
        return key, self._mutated(value) if chance.random() < 0.5 else value

    def plan(self) -> c.NewSchedule:
        """A schedule whose times are to be worked out, as any door may be asked for them."""
        chance = self.chance
        fields = (
            *map(str, range(-1, 62)),
            "*",
            "*/7",
            "1-5",
            "5-1",
            "L",
            "W",
            "1#5",
            "7L",
            "1,2,3",
            "a",
            "¹",
            "",
            "*/0",
        )
        cron = " ".join(chance.choice(fields) for _ in range(chance.choice((5, 5, 5, 5, 4, 6))))
        zones = (
            "UTC",
            "Europe/Berlin",
            "Pacific/Apia",
            "America/New_York",
            "..",
            "/etc/passwd",
            "\x00",
            "Nowhere/City",
            "",
        )
        given: dict[str, Any] = {"cron": cron, "zone": chance.choice(zones)}
        if chance.random() < 0.3:
            given = {
                "interval_seconds": chance.choice(_DOUBLES + _BAD_DOUBLES),
                "offset_seconds": chance.choice(_DOUBLES),
            }
        return c.NewSchedule(
            user_id=USERS[0],
            name="n",
            workflow=c.NewWorkflow(user_id=USERS[0], name="w", subject=b'"s"', decider="D"),
            node=c.NewNode(name="n", user_id=USERS[0]),
            **given,
        )

    def time(self) -> int:
        """A time, or what stands where one should."""
        return self.chance.choice(_LONGS)

    def _partition(self, value: bytes, route: bytes | None) -> int:
        if route is None:
            try:
                route = routes.route(codec.decode_command(value))
            except (DecodeError, OverflowError):
                route = None
        if route is None or self.chance.random() < 0.03:
            return self.chance.randrange(self.partitions)
        return ids.partition_of(route, self.partitions)

    # --- as somebody means it ----------------------------------------------------------------------------------------

    def _sane(self) -> c.AnyCommand:
        chance = self.chance
        self._count += 1
        carried: dict[str, Any] = {
            "id": ids.command_id(b"fuzz", self._count.to_bytes(8, "big")),
            "user_id": chance.choice((None, *USERS)),
            "tid": "fuzz",
        }
        if chance.random() < 0.3:
            carried["reply_to"] = c.ReplyTo(0, USERS[0], self._count)
        kind = chance.random()
        if kind < 0.3:
            return self._signal(carried)
        if kind < 0.75 and self.sent:
            node_id, attempt = self.sent.pop(chance.randrange(len(self.sent)))
            children = tuple(self._node() for _ in range(chance.choice((0, 0, 1, 3))))
            status = chance.choice(STATUSES)
            carried["user_id"] = None
            return c.ChangeNode(**carried, node_id=node_id, status=status, attempt=attempt, children=children)
        if kind < 0.8:
            values = LimitValues(concurrency=chance.choice((None, 1, 3)), key=chance.choice(("", "metadata.x")))
            activity = chance.choice(NAMES)
            carried["user_id"] = None
            return c.ChangeLimit(**carried, client_id=chance.choice(USERS), activity=activity, values=values)
        if kind < 0.85:
            return self._schedule(carried)
        if kind < 0.9:
            action = chance.choice(("retry", "resolve", "shutdown", "pause", "resume"))
            return c.StartJob(**carried, partition=chance.randrange(self.partitions), action=action)
        if kind < 0.93:
            policy = RetentionPolicy(owner_id=USERS[0], name="order", keep_seconds=1.0, archive=chance.random() < 0.5)
            return c.ChangeRetention(**carried, policy=policy, forget=chance.random() < 0.3)
        node_id = chance.choice(self.known)
        how = chance.choice((c.RestartNode, c.ResetNode, c.ScheduleNode))
        made: c.AnyCommand = how(**carried, node_id=node_id)
        return made

    def _signal(self, carried: dict[str, Any]) -> c.Signal:
        chance = self.chance
        user, name, subject = chance.choice(USERS), chance.choice(NAMES), chance.choice(SUBJECTS)
        workflow = c.NewWorkflow(user_id=user, name=name, subject=subject, decider="D")
        node = c.NewNode(
            name=chance.choice(NAMES),
            user_id=user,
            type="decision",
            parent_link_id=chance.choice((None, None, None, chance.choice(self.known))),
        )
        carried["user_id"] = chance.choice((None, user))
        workflow_id = ids.workflow_id(user, name, subject)
        self.note(workflow_id)
        key = chance.choice(KEYS)
        return c.Signal(**carried, workflow_id=workflow_id, workflow=workflow, node=node, coalesce_key=key)

    def _node(self) -> c.NewNode:
        chance = self.chance
        return c.NewNode(
            name=chance.choice(NAMES),
            user_id=chance.choice(USERS),
            mode=chance.choice((0, 1, 2)),  # type: ignore[arg-type]  # an enum of numbers
            type=chance.choice(("activity", "activity", "flag")),
            metadata=chance.choice((b"{}", b'{"x":1}')),
            retries=chance.choice((0, 1, 6)),
            retry_interval_seconds=chance.choice((0.0, 1.0, 1e300)),
            fires_at=chance.choice((None, None, 0, 2_000_000_000_000)),
        )

    def _schedule(self, carried: dict[str, Any]) -> c.AnyCommand:
        user, name = self.chance.choice(USERS), self.chance.choice(NAMES)
        carried["user_id"] = user
        plan = c.NewSchedule(
            user_id=user,
            name=name,
            interval_seconds=self.chance.choice((1.0, 60.0, 86_400.0)),
            workflow=c.NewWorkflow(user_id=user, name=name, subject=b'"at {scheduled_at}"', decider="D"),
            node=c.NewNode(name=name, user_id=user, type="decision"),
            overlap=self.chance.choice((0, 1, 2, 3)),  # type: ignore[arg-type]  # an enum of numbers
        )
        schedule_id = ids.schedule_id(user, name)
        self.note(schedule_id)
        if self.chance.random() < 0.3:
            change = self.chance.choice(("pause", "resume", "delete"))
            return c.ChangeSchedule(**carried, schedule_id=schedule_id, change=change)
        return c.PutSchedule(**carried, schedule_id=schedule_id, schedule=plan)

    # --- by the schema -----------------------------------------------------------------------------------------------

    def _structured(self, name: str) -> bytes:
        """A record of this schema with anything in its fields."""
        record = RECORDS[name]
        self._types = _types(name)
        #: How often a field is what nobody means: in some records nowhere, so that the rest is looked at.
        self._wild = self.chance.choice((0.0, 0.05, 0.3))
        return b"\xc3\x01" + record.fingerprint + self._value(record.schema, "", 0)

    def _value(self, schema: Any, field: str, depth: int) -> bytes:
        chance = self.chance
        if isinstance(schema, list):
            null = schema.index("null")
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
                text = chance.choice(NAMES) if chance.random() > max(0.3, self._wild) else chance.choice(_TEXTS)
                content = text.encode()
                return write_long(len(content)) + content
            case "bytes":
                content = chance.choice(_JSONS if chance.random() < max(0.2, self._wild) else (b"{}", *SUBJECTS))
                return write_long(len(content)) + content
            case "int":
                return write_long(self._number(field, _INTS))
            case "long":
                return write_long(self._number(field, _LONGS))
            case "double":
                doubles = _BAD_DOUBLES if chance.random() < self._wild / 10 else _DOUBLES
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
        return chance.choice((0, 1, 1, 2, 3, 1_700_000_000_000 if len(edges) > len(_INTS) else 4))

    def _identity(self) -> bytes:
        chance = self.chance
        if chance.random() < 0.7:
            return chance.choice(self.known)
        if chance.random() < 0.5:
            # Beside one that there is: of the same workflow.
            return chance.choice(self.known)[:7] + chance.randbytes(9)
        return chance.choice((bytes(16), b"\xff" * 16, chance.randbytes(16)))

    # --- raw ---------------------------------------------------------------------------------------------------------

    def _mutated(self, value: bytes) -> bytes:
        chance = self.chance
        data = bytearray(value)
        for _ in range(chance.choice((1, 1, 2, 8))):
            at = chance.randrange(len(data) + 1) if chance.random() < 0.3 else min(len(data), chance.randrange(10, 60))
            match chance.randrange(6):
                case 0:
                    data[at : at + 1] = bytes((chance.randrange(256),))
                case 1 if at < len(data):
                    data[at] ^= 1 << chance.randrange(8)
                case 2:
                    del data[at : at + chance.randrange(1, 9)]
                case 3:
                    data[at:at] = chance.randbytes(chance.randrange(1, 9))
                case 4:
                    del data[at:]
                case _:
                    data[at:at] = write_long(chance.choice(_LONGS))
        return bytes(data)
