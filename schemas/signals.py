"""Signal requests, which services publish in Avro or in plain JSON, checked here once for both."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from backbeat.schemas.marks import Time
from backbeat.schemas.messages.bounds import JSON_DEPTH_MAX, TIME_MAX
from backbeat.schemas.messages.json_text import JsonTextError, check_depth, parse
from backbeat.schemas.messages.values import (
    COALESCE_WORDS,
    PRIORITY_FIRST,
    PRIORITY_LAST,
    Backoff,
    Coalesce,
    make_backoff,
)

from .errors import DecodeError

ID_HEADER = "backbeat-id"
TID_HEADER = "backbeat-tid"

Headers = Iterable[tuple[str, str | bytes | None]]

_INT_MAX = 2**31 - 1
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}")
_EMPTY_OBJECT = b"{}"
_ABSENT = msgspec.Raw()


class SignalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A service's signal, checked: what came as text is here as the engine has it."""

    workflow: str
    subject: bytes  #: JSON text, compact UTF-8 (`subject_text`)
    decider: str
    signal: str
    id: str | None = None  #: what a repeat is known by; null: the record's place in its topic
    tid: str | None = None  #: transaction id of the header `backbeat-tid`; null: made from the command's id
    client_data: bytes = b"{}"  #: JSON object
    metadata: bytes = b"{}"  #: JSON object
    fires_at: int | None = None  #: milliseconds since the epoch
    retry: int | None = None  #: null: the engine's default
    retry_interval: float | None = None  #: seconds; null: the engine's default
    backoff: Backoff | None = None  #: how the waits grow from there; null: as the original's
    client_id: bytes | None = None  #: who runs it; null: whose topic it is
    parent_link_id: bytes | None = None
    priority: int | None = None  #: among those that wait for the same limit: 1 goes first, 5 last; null: 3
    fairness_key: str | None = None  #: those of one priority take turns by it
    coalesce_key: str | None = None  #: null: it stands for itself
    coalesce: Coalesce = Coalesce.REPLACE
    beside: bool = False  #: whether it starts at once, beside the workflow's other signals


class SignalRequestRecord(msgspec.Struct, frozen=True):
    """The door for services, on `backbeat.signals.<client>`: find or create a workflow and signal it.

    The topic's name says whose it is. Ids and JSON are text.
    """

    workflow: str  #: name of the workflow
    #: what the workflow is done for: any JSON value as text, so a string has its quotes. Not null, false, blank text,
    #: {} or []
    subject: str
    decider: str  #: the client's word for who decides
    signal: str  #: name of the signal
    #: what the record is known by: a second one of this client with the same id makes no second node; null: the header
    #: `backbeat-id`, else the record's place in the topic
    id: str | None = None
    client_data: str = "{}"  #: JSON object as text, for whoever runs the signal
    metadata: str = "{}"  #: JSON object as text
    fires_at: Time | None = None  #: not to be started before this time, in milliseconds since the epoch; null: at once
    retry: int | None = None  #: how many times it is tried again after an error, 0 or more; null: 6
    #: seconds, 0 or more; null: 1200. Until the first retry where one of the three below is given; else it is
    #: multiplied by 2^max(0, 6 - retries that are left)
    retry_interval: float | None = None
    #: UUID, as text, of the client application that runs the signal; null: the one whose topic it is
    client_id: str | None = None
    #: UUID, as text, of a running node, in any workflow, that can't complete before this signal does; null: none
    parent_link_id: str | None = None
    priority: int | None = None  #: among nodes that wait for the same limit: 1 goes first, 5 last; null: 3
    fairness_key: str | None = None  #: nodes of one priority that wait for the same limit take turns by it; null: none
    #: a signal of the same workflow with the same key that was not sent to its client yet, and this one, become one;
    #: null: it stands for itself
    coalesce_key: str | None = None
    coalesce: Coalesce = Coalesce.REPLACE  #: with a coalesce_key: which of the two remains
    retry_factor: float | None = None  #: how many times as long as the one before each wait is, 1 or more; null: 2
    retry_longest: float | None = None  #: seconds; no wait is longer, before jitter; null: 3600
    retry_jitter: float | None = None  #: share of a wait by which it is longer or shorter, 0 to 1; null: 0.2
    #: whether it starts at once, beside those that wait their turn, and is in nobody's way; else signals take turns
    beside: bool = False


class _Options(msgspec.Struct, forbid_unknown_fields=True):
    client_data: msgspec.Raw = _ABSENT
    metadata: msgspec.Raw = _ABSENT
    parent_link_id: str | None = None


class _Document(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A signal request as it stands in JSON. An explicit null is as absent."""

    subject: Any = None
    decider: str | None = None
    signal: str | None = None
    workflow: str | None = None
    workflow_type: str | None = None  #: as `workflow`: the words of the HTTP API
    name: str | None = None  #: as `workflow`
    id: str | None = None
    client_data: msgspec.Raw = _ABSENT
    metadata: msgspec.Raw = _ABSENT
    options: _Options | None = None
    fires_at: int | str | None = None
    retry: int | None = None
    retry_interval: float | None = None
    client_id: str | None = None
    parent_link_id: str | None = None
    priority: int | None = None
    fairness_key: str | None = None
    coalesce_key: str | None = None
    coalesce: str | None = None
    retry_factor: float | None = None
    retry_longest: float | None = None
    retry_jitter: float | None = None
    beside: bool | None = None
    mode: str | None = None


_documents = msgspec.json.Decoder(_Document)
#: Levels of a document around what a service puts into it: itself, and its options.
_DOCUMENT_LEVELS = 2


def subject_text(subject: Any) -> bytes:
    """A subject's JSON text, by which subjects are compared: compact UTF-8, keys in the order sent.

    ValueError if it is empty (null, false, blank text, {}, []). Every part that makes a workflow's id comes through
    here.
    """
    if (
        subject is None
        or subject is False
        or subject in ("", {}, [])
        or (isinstance(subject, str) and not subject.strip())
    ):
        raise ValueError(f"the subject is empty: {msgspec.json.encode(subject).decode()}")
    try:
        return msgspec.json.encode(subject)
    except RecursionError as error:
        # A value that was never text may be of any depth, or contain itself.
        raise ValueError(f"the subject cannot be written: {error}") from error


def read_headers(headers: Headers | None) -> tuple[str | None, str | None]:
    """The id and the transaction id that a record's headers name."""
    values: dict[str, str] = {}
    for name, value in headers or ():
        if name in (ID_HEADER, TID_HEADER) and value:
            try:
                values[name] = value if isinstance(value, str) else value.decode()
            except UnicodeDecodeError as error:
                raise DecodeError(f"header {name} is no UTF-8") from error
    return values.get(ID_HEADER), values.get(TID_HEADER)


def from_json(value: bytes, headers: Headers | None) -> SignalRequest:
    """A signal request from a JSON document."""
    try:
        check_depth(value, JSON_DEPTH_MAX + _DOCUMENT_LEVELS)
        document = _documents.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, JsonTextError) as error:
        raise DecodeError(f"no signal request in JSON: {error}") from error
    if document.mode not in (None, "blocking"):
        raise DecodeError(f"field `mode` is {document.mode}, and a signal is always blocking")
    options: _Options | _Document = document.options if document.options is not None else document
    header_id, tid = read_headers(headers)
    return SignalRequest(
        workflow=_word("workflow", document.workflow or document.name or document.workflow_type),
        subject=_subject(document.subject),
        decider=_word("decider", document.decider),
        signal=_word("signal", document.signal),
        id=document.id or header_id,
        tid=tid,
        client_data=_object("client_data", bytes(options.client_data)),
        metadata=_object("metadata", bytes(options.metadata)),
        fires_at=_time(document.fires_at),
        retry=_count("retry", document.retry),
        retry_interval=_seconds(document.retry_interval),
        backoff=_backoff(document),
        client_id=_uuid("client_id", document.client_id),
        parent_link_id=_uuid("parent_link_id", options.parent_link_id),
        priority=_priority(document.priority),
        fairness_key=document.fairness_key,
        coalesce_key=_key(document.coalesce_key),
        beside=bool(document.beside),
        coalesce=_coalesce(document.coalesce),
    )


def from_record(record: SignalRequestRecord, headers: Headers | None) -> SignalRequest:
    """A signal request from Avro."""
    header_id, tid = read_headers(headers)
    subject = _parse("subject", record.subject.encode())
    return SignalRequest(
        workflow=_word("workflow", record.workflow),
        subject=_subject(subject),
        decider=_word("decider", record.decider),
        signal=_word("signal", record.signal),
        id=record.id or header_id,
        tid=tid,
        client_data=_object("client_data", record.client_data.strip().encode()),
        metadata=_object("metadata", record.metadata.strip().encode()),
        fires_at=_time(record.fires_at),
        retry=_count("retry", record.retry),
        retry_interval=_seconds(record.retry_interval),
        backoff=_backoff(record),
        client_id=_uuid("client_id", record.client_id),
        parent_link_id=_uuid("parent_link_id", record.parent_link_id),
        priority=_priority(record.priority),
        fairness_key=record.fairness_key,
        coalesce_key=_key(record.coalesce_key),
        beside=record.beside,
        coalesce=record.coalesce,
    )


def to_record(request: SignalRequest) -> SignalRequestRecord:
    """A signal request as it stands in Avro. Its `tid` travels in a header."""
    return SignalRequestRecord(
        workflow=request.workflow,
        subject=request.subject.decode(),
        decider=request.decider,
        signal=request.signal,
        id=request.id,
        client_data=request.client_data.decode(),
        metadata=request.metadata.decode(),
        fires_at=request.fires_at,
        retry=request.retry,
        retry_interval=request.retry_interval,
        retry_factor=None if request.backoff is None else request.backoff.factor,
        retry_longest=None if request.backoff is None else request.backoff.longest_seconds,
        retry_jitter=None if request.backoff is None else request.backoff.jitter,
        client_id=None if request.client_id is None else str(uuid.UUID(bytes=request.client_id)),
        parent_link_id=None if request.parent_link_id is None else str(uuid.UUID(bytes=request.parent_link_id)),
        priority=request.priority,
        fairness_key=request.fairness_key,
        coalesce_key=request.coalesce_key,
        beside=request.beside,
        coalesce=request.coalesce,
    )


def _word(name: str, value: str | None) -> str:
    if value is None or not value.strip():
        raise DecodeError(f"missing field `{name}`")
    return value


def _subject(subject: Any) -> bytes:
    if subject is None:
        raise DecodeError("missing field `subject`")
    try:
        return subject_text(subject)
    except (ValueError, msgspec.EncodeError) as error:
        raise DecodeError(f"field `subject`: {error}") from error


def _object(name: str, text: bytes) -> bytes:
    if not text or text == b"null":
        return _EMPTY_OBJECT
    if not text.startswith(b"{"):
        raise DecodeError(f"field `{name}` is no JSON object")
    # Broken text must not travel on to every reader.
    _parse(name, text)
    return text


def _parse(name: str, text: bytes) -> Any:
    try:
        return parse(text, JSON_DEPTH_MAX)
    except JsonTextError as error:
        raise DecodeError(f"field `{name}` is no JSON: {error}") from error


def _time(value: int | str | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, str):
        value = _milliseconds(value)
    if not 0 <= value <= TIME_MAX:
        raise DecodeError(f"field `fires_at` is out of range: {value}")
    return value


def _milliseconds(text: str) -> int:
    try:
        time = datetime.fromisoformat(text)
        # A time without a zone is UTC: where the ingest runs must not matter.
        return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise DecodeError(f"field `fires_at` is neither milliseconds nor an ISO 8601 time: {text[:64]}") from error


def _count(name: str, value: int | None) -> int | None:
    if value is not None and not 0 <= value <= _INT_MAX:
        raise DecodeError(f"field `{name}` is {value}, and 0 is the least and {_INT_MAX} the most")
    return value


def _priority(value: int | None) -> int | None:
    if value is not None and not PRIORITY_FIRST <= value <= PRIORITY_LAST:
        raise DecodeError(f"field `priority` is {value}, and {PRIORITY_FIRST} goes first and {PRIORITY_LAST} last")
    return value


def _seconds(value: float | None) -> float | None:
    if value is not None and not 0.0 <= value <= _INT_MAX:
        raise DecodeError(f"field `retry_interval` is {value}, and 0 is the least and {_INT_MAX} the most")
    return value


def _backoff(given: _Document | SignalRequestRecord) -> Backoff | None:
    try:
        return make_backoff(given.retry_factor, given.retry_longest, given.retry_jitter)
    except ValueError as error:
        raise DecodeError(f"field {error}") from error


def _key(value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise DecodeError("field `coalesce_key` is blank")
    return value


def _coalesce(word: str | None) -> Coalesce:
    coalesce = Coalesce.REPLACE if word is None else COALESCE_WORDS.get(word)
    if coalesce is None:
        raise DecodeError(f"field `coalesce` is {word}, and there are {', '.join(COALESCE_WORDS)}")
    return coalesce


def _uuid(name: str, text: str | None) -> bytes | None:
    if text is None:
        return None
    if not _UUID.fullmatch(text):
        raise DecodeError(f"field `{name}` is no UUID: {text[:64]}")
    return bytes.fromhex(text.replace("-", ""))
