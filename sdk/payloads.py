"""Values at the edge: JSON, ids, times and modes as a caller writes them, and as the engine has them.

Sizes are checked here, at the caller, where the error names the value; the engine checks them again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from backbeat.errors import InvalidParameters, LimitExceeded
from backbeat.schemas import subject_text
from backbeat.streams.core.commands import COALESCE_WORDS, Coalesce
from backbeat.streams.core.effects import Reason
from backbeat.streams.core.records import PRIORITY_FIRST, PRIORITY_LAST, Settings
from backbeat.streams.core.status import MODE_WORDS, Mode

ModeWord = Literal["blocking", "non_blocking", "fire_and_forget"]
#: Positional arguments, or keyword arguments.
Arguments = Sequence[Any] | Mapping[str, Any]
Id = str | uuid.UUID
#: A time, or how long from now.
When = datetime | timedelta

#: What the engine accepts unless its operator has changed it.
LIMITS = Settings()


def to_builtin(value: Any) -> Any:
    """What msgspec does not write by itself: pydantic's models, which are not imported for it."""
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    raise NotImplementedError(f"objects of type {type(value).__name__} are not supported")


_encoder = msgspec.json.Encoder(enc_hook=to_builtin)
_decoder = msgspec.json.Decoder()
_ID_BYTES = 16


def to_json(what: str, value: Any, bytes_max: int = LIMITS.payload_bytes_max) -> bytes:
    """A value as JSON text; `what` names it in the error."""
    try:
        text = _encoder.encode(value)
    except (TypeError, ValueError, NotImplementedError, msgspec.MsgspecError) as error:
        raise InvalidParameters(
            Reason.INVALID_PARAMETERS, f"The {what} cannot be written as JSON: {error}", type(value).__name__, "JSON"
        ) from error
    if len(text) > bytes_max:
        raise LimitExceeded(
            Reason.LIMIT_EXCEEDED,
            f"The {what} has {len(text)} bytes; payload_bytes_max is {bytes_max}. Larger arguments and results can go "
            "to a store by reference: store=… of client and worker",
            f"{len(text)} bytes",
            f"payload_bytes_max {bytes_max}",
        )
    return text


def from_json(text: bytes) -> Any:
    """The value of JSON text; text that is none (it came from elsewhere) is given as it is."""
    try:
        return _decoder.decode(text)
    except msgspec.DecodeError:
        return text.decode(errors="replace")


def to_subject(subject: Any) -> bytes:
    """A subject's JSON text."""
    try:
        return subject_text(subject)
    except (TypeError, ValueError) as error:
        raise InvalidParameters(Reason.INVALID_PARAMETERS, str(error), repr(subject), "a subject") from error


def to_client_data(
    name: str,
    args: Arguments,
    client_data: Mapping[str, Any] | None,
    timeout: float | timedelta | None,
    pack: Callable[[str, Any], Any] | None = None,
) -> bytes:
    """Client data: what the caller gives whole, else {"name","params"}; `timeout` is put into it.

    `pack` is what the arguments go through (`backbeat.packing`). Client data given whole is packed by who gives it.
    """
    if isinstance(args, str | bytes):
        raise InvalidParameters(
            Reason.INVALID_PARAMETERS, "args is text; put it into a list", "text", "a list or a mapping"
        )
    if client_data is not None and args:
        raise InvalidParameters(Reason.INVALID_PARAMETERS, "Give args or client_data, not both", "both", "one of them")
    data: dict[str, Any]
    if client_data is None:
        data = {"name": name, "params": args if pack is None else pack(f"arguments of {name!r}", args)}
    else:
        data = dict(client_data)
    if timeout is not None:
        data["timeout"] = seconds(timeout)
    return to_json("client data", data)


def to_metadata(metadata: Mapping[str, Any] | None) -> bytes:
    """Metadata as a JSON object."""
    return to_json("metadata", metadata) if metadata else b"{}"


def seconds(value: float | timedelta) -> float:
    """A length of time."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def to_milliseconds(at: When | None, now: float) -> int | None:
    """A time as milliseconds since the epoch; `now` is seconds since then."""
    if at is None:
        return None
    if isinstance(at, timedelta):
        return int(now * 1000) + int(at.total_seconds() * 1000)
    if at.tzinfo is None:
        raise InvalidParameters(
            Reason.INVALID_PARAMETERS, "A time without a time zone", at.isoformat(), "datetime.now(UTC) + …"
        )
    return int(at.timestamp() * 1000)


def to_datetime(milliseconds: int) -> datetime:
    """Milliseconds since the epoch as a time."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def to_mode(mode: str) -> Mode:
    """A mode by its word."""
    found = MODE_WORDS.get(mode)
    if found is None:
        raise InvalidParameters(Reason.INVALID_PARAMETERS, f"There is no mode {mode!r}", mode, ", ".join(MODE_WORDS))
    return found


def to_coalesce(how: str) -> Coalesce:
    """Which of two signals remains, by its word."""
    found = COALESCE_WORDS.get(how)
    if found is None:
        raise InvalidParameters(
            Reason.INVALID_PARAMETERS, f"coalesce cannot be {how!r}", str(how), ", ".join(COALESCE_WORDS)
        )
    return found


def to_id(identity: Id | bytes) -> bytes:
    """An id's 16 bytes."""
    try:
        value = identity if isinstance(identity, uuid.UUID | bytes) else uuid.UUID(identity)
    except (ValueError, AttributeError, TypeError) as error:
        raise InvalidParameters(Reason.INVALID_PARAMETERS, f"{identity!r} is no id", str(identity), "a UUID") from error
    value = value.bytes if isinstance(value, uuid.UUID) else value
    if len(value) != _ID_BYTES:
        raise InvalidParameters(Reason.INVALID_PARAMETERS, f"{identity!r} is no id", str(identity), "a UUID")
    return value


def aware(what: str, at: datetime) -> datetime:
    """A time that is one everywhere; InvalidParameters for one without a time zone."""
    if at.tzinfo is None:
        raise InvalidParameters(
            Reason.INVALID_PARAMETERS, f"{what} is a time without a time zone", at.isoformat(), "datetime.now(UTC) - …"
        )
    return at


def id_text(identity: bytes) -> str:
    """An id as the text of a UUID."""
    text = identity.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def check_node(name: str, retries: int | None, backoff: float | None) -> None:
    """Refuse at the caller what the engine would refuse later, when nobody waits for its answer."""
    if not name or len(name.encode()) > LIMITS.name_bytes_max:
        raise InvalidParameters(
            Reason.INVALID_PARAMETERS, f"A name is 1 to {LIMITS.name_bytes_max} bytes", name[:40], "a name"
        )
    if retries is not None and retries < 0:
        raise InvalidParameters(Reason.INVALID_PARAMETERS, "retries is below 0", str(retries), "0 or more")
    if backoff is not None and not 0 <= backoff < float("inf"):
        raise InvalidParameters(Reason.INVALID_PARAMETERS, "backoff is below 0", str(backoff), "0 or more seconds")


def to_priority(priority: int | None) -> int | None:
    """A priority, refused at the caller if it is none. InvalidParameters."""
    if priority is not None and not PRIORITY_FIRST <= priority <= PRIORITY_LAST:
        raise InvalidParameters(
            Reason.INVALID_PARAMETERS, "priority is 1 (goes first) to 5 (goes last)", str(priority), "1 to 5"
        )
    return priority
