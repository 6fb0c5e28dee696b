"""Fields of a request on a signals topic, as they were published. Each check raises DecodeError, with the field."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from backbeat.schemas.errors import DecodeError
from backbeat.schemas.messages.bounds import JSON_DEPTH_MAX, TIME_MAX
from backbeat.schemas.messages.json_text import JsonTextError, parse
from backbeat.schemas.messages.values import (
    COALESCE_WORDS,
    PRIORITY_FIRST,
    PRIORITY_LAST,
    Backoff,
    Coalesce,
    make_backoff,
)

ID_HEADER = "backbeat-id"
TID_HEADER = "backbeat-tid"

Headers = Iterable[tuple[str, str | bytes | None]]

_INT_MAX = 2**31 - 1
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}")
_EMPTY_OBJECT = b"{}"


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


def word(name: str, value: str | None) -> str:
    """A text that is not blank."""
    if value is None or not value.strip():
        raise DecodeError(f"missing field `{name}`")
    return value


def subject(value: Any) -> bytes:
    """A subject as its JSON text."""
    if value is None:
        raise DecodeError("missing field `subject`")
    try:
        return subject_text(value)
    except (ValueError, msgspec.EncodeError) as error:
        raise DecodeError(f"field `subject`: {error}") from error


def json_object(name: str, text: bytes) -> bytes:
    """A JSON object as its text; absent or null: an empty one."""
    if not text or text == b"null":
        return _EMPTY_OBJECT
    if not text.startswith(b"{"):
        raise DecodeError(f"field `{name}` is no JSON object")
    # Broken text must not travel on to every reader.
    parsed(name, text)
    return text


def json_value(name: str, text: bytes) -> bytes:
    """Any JSON value as its text; absent: null."""
    if not text:
        return b"null"
    parsed(name, text)
    return text


def parsed(name: str, text: bytes) -> Any:
    """The value of a JSON text."""
    try:
        return parse(text, JSON_DEPTH_MAX)
    except JsonTextError as error:
        raise DecodeError(f"field `{name}` is no JSON: {error}") from error


def time_milliseconds(value: int | str | None) -> int | None:
    """A time in milliseconds since the epoch, or in ISO 8601."""
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


def count(name: str, value: int | None) -> int | None:
    """A whole number, 0 or more."""
    if value is not None and not 0 <= value <= _INT_MAX:
        raise DecodeError(f"field `{name}` is {value}, and 0 is the least and {_INT_MAX} the most")
    return value


def priority(value: int | None) -> int | None:
    """A place among those that wait for the same limit."""
    if value is not None and not PRIORITY_FIRST <= value <= PRIORITY_LAST:
        raise DecodeError(f"field `priority` is {value}, and {PRIORITY_FIRST} goes first and {PRIORITY_LAST} last")
    return value


def retry_interval(value: float | None) -> float | None:
    """Seconds, 0 or more."""
    if value is not None and not 0.0 <= value <= _INT_MAX:
        raise DecodeError(f"field `retry_interval` is {value}, and 0 is the least and {_INT_MAX} the most")
    return value


def backoff(factor: float | None, longest: float | None, jitter: float | None) -> Backoff | None:
    """The backoff of retries; null: the request has no word of it."""
    try:
        return make_backoff(factor, longest, jitter)
    except ValueError as error:
        raise DecodeError(f"field {error}") from error


def coalesce_key(value: str | None) -> str | None:
    """A key that is not blank; null: none."""
    if value is not None and not value.strip():
        raise DecodeError("field `coalesce_key` is blank")
    return value


def coalesce_word(value: str | None) -> Coalesce:
    """The one of two signals of a key that remains; null: the new one."""
    coalesce = Coalesce.REPLACE if value is None else COALESCE_WORDS.get(value)
    if coalesce is None:
        raise DecodeError(f"field `coalesce` is {value}, and there are {', '.join(COALESCE_WORDS)}")
    return coalesce


def uuid_bytes(name: str, text: str | None) -> bytes | None:
    """A UUID as its 16 bytes; null: none."""
    if text is None:
        return None
    if not _UUID.fullmatch(text):
        raise DecodeError(f"field `{name}` is no UUID: {text[:64]}")
    return bytes.fromhex(text.replace("-", ""))
