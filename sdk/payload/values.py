"""Values at the edge: JSON, ids, times and modes as a caller writes them, and as the engine has them.

Sizes are checked here, at the caller, where the error names the value; the engine checks them again.
"""

from __future__ import annotations

import math
import operator
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Literal

import msgspec

from backbeat.errors import InvalidParameters, LimitExceeded
from backbeat.payload.json_values import check, json_text
from backbeat.schemas.messages.bounds import TIME_MAX, TIME_MIN, Settings
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.status import MODE_WORDS, Mode
from backbeat.schemas.messages.values import COALESCE_WORDS, PRIORITY_FIRST, PRIORITY_LAST, Coalesce
from backbeat.schemas.requests.fields import subject_text

ModeWord = Literal["blocking", "non_blocking", "fire_and_forget"]
#: Positional arguments, or keyword arguments.
Arguments = Sequence[Any] | Mapping[str, Any]
Id = str | uuid.UUID
#: A time, or a length of time from now.
When = datetime | timedelta

#: Limits of an engine whose operator has changed none.
LIMITS = Settings()


_decoder = msgspec.json.Decoder()
_ID_BYTES = 16
#: Types of what stands for an answer until it is awaited.
_AWAITED = ("coroutine", "Pending", "Future", "Task")


def to_json(label: str, value: Any, bytes_max: int = LIMITS.payload_bytes_max) -> bytes:
    """A value as JSON text; `label` names it in the error."""
    try:
        text = json_text(value)
    except Exception as error:
        # A model's own code may raise anything.
        reason = str(error) or kind_of(error)
        advice = ". What to do: await it" if any(kind in reason for kind in _AWAITED) else ""
        raise invalid(f"The {label} cannot be written as JSON: {reason}{advice}", kind_of(value), "JSON") from error
    if len(text) > bytes_max:
        raise LimitExceeded(
            Reason.LIMIT_EXCEEDED,
            f"The {label} has {len(text)} bytes; payload_bytes_max is {bytes_max}. Larger arguments and results can go "
            "to a store by reference: store=… of client and worker",
            f"{len(text)} bytes",
            f"payload_bytes_max {bytes_max}",
        )
    return text


def from_json(text: bytes) -> Any:
    """The value of JSON text; text that is none (it came from elsewhere) is given as it is."""
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text.decode(errors="replace")


def to_subject(subject: Any) -> bytes:
    """A subject's JSON text."""
    try:
        check(subject)
        return subject_text(subject)
    except Exception as error:
        raise invalid(f"The subject cannot be written as JSON: {error}", kind_of(subject), "a subject") from error


def to_client_data(
    name: str,
    args: Arguments,
    client_data: Mapping[str, Any] | None,
    timeout: float | timedelta | None,
    pack: Callable[[str, Any], Any] | None = None,
) -> bytes:
    """Client data: the caller's mapping, else {"name","params"}; `timeout` is put into it.

    `pack` is applied to the arguments (`payload_codec`). Client data given whole is packed by its caller.
    """
    if isinstance(args, str | bytes):
        raise invalid("args is text; put it into a list", "text", "a list or a mapping")
    if client_data is not None and args:
        raise invalid("Give args or client_data, not both", "both", "one of them")
    if client_data is not None and not isinstance(client_data, Mapping):
        raise invalid("client_data is no mapping", kind_of(client_data), "a mapping")
    data: dict[str, Any]
    if client_data is None:
        data = {"name": name, "params": args if pack is None else pack(f"arguments of {name!r}", args)}
    else:
        data = dict(client_data)
    if timeout is not None:
        data["timeout"] = to_timeout(timeout)
    return to_json("client data", data)


def to_metadata(metadata: Mapping[str, Any] | None) -> bytes:
    """Metadata as a JSON object."""
    if metadata is not None and not isinstance(metadata, Mapping):
        raise invalid("metadata is no mapping", kind_of(metadata), "a mapping")
    return to_json("metadata", metadata) if metadata else b"{}"


def invalid(message: str, found: str, wanted: str) -> InvalidParameters:
    """A value that cannot be, as an error like those that an engine answers."""
    return InvalidParameters(Reason.INVALID_PARAMETERS, message, found, wanted)


def kind_of(value: Any) -> str:
    """A value's type, for errors: the value itself may be secret, or have no text."""
    return type(value).__name__


def seconds(value: Any, name: str = "length of time") -> float:
    """A length of time; `name` is the parameter's. InvalidParameters where it is none, or has no end."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise invalid(f"{name} is a {kind_of(value)}", kind_of(value), "seconds, or a timedelta")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise invalid(f"{name} is {number}; it must be a number of seconds", str(number), "seconds, or a timedelta")
    return number


def to_timeout(value: Any) -> float:
    """A timeout in seconds, 0 or more. InvalidParameters."""
    number = seconds(value, "timeout")
    if number < 0:
        raise invalid(f"timeout is {number:g}; it must be 0 seconds or more", f"{number:g}", "0 or more seconds")
    return number


def to_flag(name: str, value: Any) -> bool:
    """True or false; `name` is the parameter's, null is false. InvalidParameters."""
    if value is not None and not isinstance(value, bool):
        raise invalid(f"{name} is a {kind_of(value)}; it must be True or False", kind_of(value), "True or False")
    return bool(value)


def to_text(name: str, value: Any, bytes_max: int | None = LIMITS.name_bytes_max, *, may_be_empty: bool = False) -> str:
    """A text that the engine takes; `name` is the parameter's. InvalidParameters."""
    if not isinstance(value, str):
        raise invalid(f"{name} is a {kind_of(value)}", kind_of(value), "text")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise invalid(f"{name} is no text that UTF-8 has: {error.reason}", ascii(value)[:40], "text") from error
    if (not size and not may_be_empty) or (bytes_max is not None and size > bytes_max):
        length = "1 byte or more" if bytes_max is None else f"{0 if may_be_empty else 1} to {bytes_max} bytes"
        raise invalid(f"{name} is {length}, not {size}", f"{size} bytes", length)
    return value


def to_share(name: str, value: Any) -> float:
    """A number from 0 to 1; `name` is the parameter's. InvalidParameters."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise invalid(f"{name} is a {kind_of(value)}; it must be from 0 to 1", kind_of(value), "a number from 0 to 1")
    if not 0 <= value <= 1:
        raise invalid(f"{name} is {value!r:.40}; it must be from 0 to 1", f"{value!r:.40}", "a number from 0 to 1")
    return float(value)


def to_count(name: str, value: Any, low: int, high: int = 2**31 - 1) -> int:
    """A whole number within bounds; `name` is the parameter's. InvalidParameters."""
    if not hasattr(value, "__index__") or isinstance(value, bool):
        raise invalid(f"{name} is no whole number", ascii(value)[:40], f"{low} to {high}")
    number = operator.index(value)
    if not low <= number <= high:
        reason = f"below {low}" if number < low else f"above {high}"
        raise invalid(f"{name} is {reason}", hex(number)[:40], f"{low} to {high}")
    return number


def to_milliseconds(at: When | None, now: float, name: str = "at") -> int | None:
    """Milliseconds since the epoch of a time; `now` is seconds since then, `name` the parameter's.

    InvalidParameters, also beyond the year 9999.
    """
    if at is None:
        return None
    if isinstance(at, timedelta):
        milliseconds = int(now * 1000) + int(at.total_seconds() * 1000)
    elif not isinstance(at, datetime):
        raise invalid(
            f"{name} is a {kind_of(at)}; it must be a datetime with a time zone, or a timedelta from now",
            kind_of(at),
            "a datetime with a time zone, or a timedelta from now",
        )
    elif at.utcoffset() is None:
        text = (
            f"{name} is a time without a time zone: {at.isoformat()}. What to do: datetime.now(UTC) + …, or a timedelta"
        )
        raise invalid(text, at.isoformat(), "datetime.now(UTC) + …")
    else:
        milliseconds = int(at.timestamp() * 1000)
    if not TIME_MIN <= milliseconds <= TIME_MAX:
        raise invalid("A time outside of the years 1 to 9999 cannot be read back", str(at), "a time of these years")
    return milliseconds


def to_datetime(milliseconds: int) -> datetime:
    """Milliseconds since the epoch as a time."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def to_mode(mode: Any) -> Mode:
    """The mode of a word."""
    value = MODE_WORDS.get(mode) if isinstance(mode, str) else None
    if value is None:
        nearest = get_close_matches(str(mode), MODE_WORDS, 1)
        advice = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(MODE_WORDS)}"
        raise invalid(f"There is no mode {mode!r}: {advice}", str(mode), ", ".join(MODE_WORDS))
    return value


def to_coalesce(word: Any) -> Coalesce:
    """The rule for signals that coalesce, by its word."""
    rule = COALESCE_WORDS.get(word) if isinstance(word, str) else None
    if rule is None:
        raise invalid(f"coalesce cannot be {word!r}", str(word), ", ".join(COALESCE_WORDS))
    return rule


def to_id(identity: Id | bytes, name: str = "id") -> bytes:
    """An id's 16 bytes; `name` is the parameter's. InvalidParameters."""
    try:
        value = identity if isinstance(identity, uuid.UUID | bytes) else uuid.UUID(identity)
    except (ValueError, AttributeError, TypeError) as error:
        raise invalid(f"{name}: {identity!r} is no id; it must be a UUID", str(identity), "a UUID") from error
    value = value.bytes if isinstance(value, uuid.UUID) else value
    if len(value) != _ID_BYTES:
        raise invalid(f"{name}: {identity!r} is no id; it must be a UUID", str(identity), "a UUID")
    return value


def aware(name: str, at: datetime) -> datetime:
    """A time with a time zone; `name` is the parameter's. InvalidParameters for one without."""
    if not isinstance(at, datetime):
        raise invalid(f"{name} is a {kind_of(at)}", kind_of(at), "a datetime with a time zone")
    if at.utcoffset() is None:
        raise invalid(f"{name} is a time without a time zone", at.isoformat(), "datetime.now(UTC) - …")
    return at


def id_text(identity: bytes) -> str:
    """An id as the text of a UUID."""
    text = identity.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def to_priority(priority: int | None) -> int | None:
    """A priority, refused at the caller if it is none. InvalidParameters."""
    if priority is None:
        return None
    return to_count("priority (1 goes first, 5 last)", priority, PRIORITY_FIRST, PRIORITY_LAST)
