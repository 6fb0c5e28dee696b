"""Content of a dead letter, for people: its record decoded where it can be, else the fault in it."""

from __future__ import annotations

import enum
import uuid
from typing import Any

import msgspec

from backbeat.gateway.letters.topic import DeadLetter
from backbeat.schemas.codec import decode_activity, decode_command, decode_query, decode_reply, decode_request
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.topics import ACTIVITIES_PREFIX, COMMANDS, QUERIES, REPLIES, SIGNALS_PREFIX

_UUID_BYTES = 16
_SYSTEM = {COMMANDS: decode_command, QUERIES: decode_query, REPLIES: decode_reply}


def decoded(letter: DeadLetter) -> tuple[str, Any]:
    """(kind of the record, its content as JSON can have it).

    A record that still cannot be read: ("", reason). One that can be read now was refused for another reason, or by an
    older version.
    """
    try:
        if letter.topic.startswith(SIGNALS_PREFIX):
            record: Any = decode_request(letter.value, letter.headers)
        elif letter.topic.startswith(ACTIVITIES_PREFIX):
            record = decode_activity(letter.value)
        elif letter.topic in _SYSTEM:
            record = _SYSTEM[letter.topic](letter.value)
        else:
            return "", f"records of {letter.topic or 'an unknown topic'} have no schema here"
    except DecodeError as error:
        return "", str(error)
    return type(record).__name__, readable(record)


def readable(value: Any) -> Any:
    """A record as JSON can have it: ids as UUIDs, payloads as JSON."""
    match value:
        case msgspec.Struct():
            return {name: readable(getattr(value, name)) for name in value.__struct_fields__}
        case enum.Enum():
            return value.name.lower()
        case tuple() | list():
            return [readable(item) for item in value]
        case bytes() | bytearray() | memoryview():
            return _content(bytes(value))
        case _:
            return value


def _content(value: bytes) -> Any:
    """Bytes of a record: a payload or subject is JSON; an id is 16 bytes."""
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return str(uuid.UUID(bytes=value)) if len(value) == _UUID_BYTES else text_of(value)


def text_of(value: bytes | None) -> str:
    """Bytes as text; those that are none are spelt out."""
    return "" if value is None else value.decode(errors="backslashreplace")
