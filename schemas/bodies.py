"""Commands, queries and answers as bodies of HTTP calls (docs/reference/http.md).

Single-object encoding in any case: a schema registry is a matter of the topics, and who speaks HTTP need not reach one.
A request is one record. An answer is one or more replies, each preceded by its length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import cache
from typing import Any

from backbeat.schemas.errors import DecodeError
from backbeat.schemas.messages.commands import AnyCommand
from backbeat.schemas.messages.queries import AnyQuery
from backbeat.schemas.messages.replies import Answer, QueryAnswer, ReplyRecord
from backbeat.schemas.named_types import REPLIES, Schema
from backbeat.schemas.wire import Wire

MEDIA_TYPE = "application/vnd.backbeat.v1+avro"

#: What stands before each reply: how many bytes it has, big-endian.
LENGTH = struct.Struct(">I")

#: A reply over HTTP belongs to the call that it answers: nobody looks for its asker.
_ASKER = bytes(16)


@cache
def _wire() -> Wire:
    return Wire()


def write(value: AnyCommand | AnyQuery) -> bytes:
    """A command or query as a request's body. EncodeError."""
    return _wire().encode(type(value).__name__, value)


def read_command(body: bytes) -> AnyCommand:
    """The command that a request is. DecodeError, of it UnknownSchemaError."""
    command: AnyCommand = _read(body, AnyCommand, "command")
    return command


def read_query(body: bytes) -> AnyQuery:
    """The query that a request is. DecodeError, of it UnknownSchemaError."""
    query: AnyQuery = _read(body, AnyQuery, "query")
    return query


def write_replies(
    answers: Iterable[Answer | QueryAnswer], tid: str, *, first_part: int = 0, is_end: bool = True
) -> bytes:
    """Answers as the body of a response, or as a part of one; `is_end`: no other follows."""
    parts = list(answers)
    end = len(parts) - 1 if is_end else len(parts)
    replies: list[bytes] = []
    for index, answer in enumerate(parts):
        record = ReplyRecord(_ASKER, 0, first_part + index, index == end, tid, answer)
        reply = _wire().encode(REPLIES[type(answer)], record)
        replies += (LENGTH.pack(len(reply)), reply)
    return b"".join(replies)


def read_reply(reply: bytes) -> ReplyRecord:
    """A reply, without its length. DecodeError, of it UnknownSchemaError."""
    record: ReplyRecord = _read(reply, ReplyRecord, "reply")
    return record


def find_schema(fingerprint: bytes) -> Schema | None:
    """The schema of a record, of today or an older version of it, whole; None: there is none of this fingerprint."""
    return _wire().find_schema(fingerprint)


def learn(schema: Schema) -> None:
    """Read records of this schema from now on, by Avro's rules of resolution. ValueError: it is no schema of ours."""
    _wire().learn(schema)


def _read(value: bytes, kind: Any, expected: str) -> Any:
    name, record = _wire().decode(value)
    if not isinstance(record, kind):
        raise DecodeError(f"wrong type: a {name} where a {expected} was expected")
    return record
