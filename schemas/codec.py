"""Records of the topics, to bytes and back. Reading any bytes gives a value or a DecodeError, nothing else."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from backbeat.schemas.errors import DecodeError
from backbeat.schemas.messages.activities import ActivityRecord
from backbeat.schemas.messages.commands import AnyCommand
from backbeat.schemas.messages.history import StatusChangesRecord
from backbeat.schemas.messages.queries import AnyQuery
from backbeat.schemas.messages.replies import Answer, QueryAnswer, ReplyRecord
from backbeat.schemas.messages.values import ReplyTo, Source
from backbeat.schemas.named_types import COMMANDS, QUERIES, REPLIES
from backbeat.schemas.requests import documents, messages, signals
from backbeat.schemas.requests.fields import Headers
from backbeat.schemas.requests.messages import MessageRequest, MessageRequestRecord
from backbeat.schemas.requests.signals import SignalRequest
from backbeat.schemas.wire import CONFLUENT_MARKER, MARKER, REGISTRY_VARIABLE, Wire

_COMMAND_NAMES = frozenset(command.__name__ for command in COMMANDS)
_QUERY_NAMES = frozenset(query.__name__ for query in QUERIES)
_REPLY_NAMES = frozenset(REPLIES.values())

_wire = Wire(os.environ.get(REGISTRY_VARIABLE))


def configure(registry_url: str | None) -> None:
    """Use this schema registry, or none, from now on. At first it is the one of BACKBEAT_SCHEMA_REGISTRY_URL."""
    global _wire  # noqa: PLW0603 - one process speaks one format
    _wire = Wire(registry_url)


def encode_command(command: AnyCommand, source: Source | None = None) -> bytes:
    """A command; `source` marks what one partition's engine sends."""
    if source is not None:
        command = msgspec.structs.replace(command, source=source)
    return _wire.encode(type(command).__name__, command)


def decode_command(value: bytes | None) -> AnyCommand:
    """A record of the commands topic."""
    command: AnyCommand = _decode(value, _COMMAND_NAMES, "command")
    return command


def encode_query(query: AnyQuery) -> bytes:
    """A query."""
    return _wire.encode(type(query).__name__, query)


def decode_query(value: bytes | None) -> AnyQuery:
    """A record of the queries topic."""
    query: AnyQuery = _decode(value, _QUERY_NAMES, "query")
    return query


def encode_reply(
    to: ReplyTo,
    answer: Answer | QueryAnswer,
    tid: str = "",
    part: int = 0,
    last: bool = True,  # noqa: FBT001, FBT002
) -> bytes:
    """An answer, or a part of one, to whoever asked."""
    return _wire.encode(REPLIES[type(answer)], ReplyRecord(to.asker, to.number, part, last, tid, answer))


def decode_reply(value: bytes | None) -> ReplyRecord:
    """A record of the replies topic."""
    reply: ReplyRecord = _decode(value, _REPLY_NAMES, "reply")
    return reply


def encode_activity(record: ActivityRecord) -> bytes:
    """An activity for a worker or deliverer."""
    return _wire.encode("Activity", record)


def decode_activity(value: bytes | None) -> ActivityRecord:
    """A record of an activities topic."""
    activity: ActivityRecord = _decode(value, ("Activity",), "activity")
    return activity


def encode_status_changes(record: StatusChangesRecord) -> bytes:
    """The status changes of one command."""
    return _wire.encode("StatusChanges", record)


def decode_status_changes(value: bytes | None) -> StatusChangesRecord:
    """A record of the history topic."""
    changes: StatusChangesRecord = _decode(value, ("StatusChanges",), "status changes")
    return changes


def encode_signal(request: SignalRequest) -> bytes:
    """A service's signal in Avro. Its `tid` is not in it: send it as the header TID_HEADER."""
    return _wire.encode("SignalRequest", signals.to_record(request))


def encode_message(request: MessageRequest) -> bytes:
    """A service's message in Avro. Its `tid` is not in it: send it as the header TID_HEADER."""
    return _wire.encode("MessageRequest", messages.to_record(request))


def decode_request(value: bytes | None, headers: Headers | None = None) -> SignalRequest | MessageRequest:
    """A record of a signals topic, in Avro (single-object or Confluent's format) or plain JSON, and checked."""
    if value is not None and value[:2] != MARKER and value[:1] != CONFLUENT_MARKER:
        return documents.from_json(value, headers)
    record = _decode(value, ("SignalRequest", "MessageRequest"), "request")
    if isinstance(record, MessageRequestRecord):
        return messages.from_record(record, headers)
    return signals.from_record(record, headers)


def _decode(value: bytes | None, names: frozenset[str] | tuple[str, ...], kind: str) -> Any:
    if value is None:
        raise DecodeError("the record has no value")
    name, record = _wire.decode(value)
    if name not in names:
        raise DecodeError(f"wrong type: a {name} where a {kind} was expected")
    return record
