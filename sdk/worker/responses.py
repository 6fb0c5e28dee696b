"""Responses of attempts: JSON-RPC shaped, as the original's clients gave them."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from backbeat.errors import Fail, LimitExceeded, RetryAfter
from backbeat.payload.values import LIMITS, to_json
from backbeat.schemas.messages.json_text import as_response
from backbeat.schemas.messages.replies import Reason

#: An error's text and traceback: the end of it says most.
_MESSAGE_CHARACTERS_MAX = 8_000
_TRACEBACK_CHARACTERS_MAX = 32_000
#: JSON-RPC's code for an error of the server's own kind.
_ERROR_CODE = -32000

#: Folder of the package; its examples are handlers as anybody's.
_PACKAGE = Path(__file__).parents[1]

_NOTHING = as_response(b"null")


def result_response(result: Any, label: str = "result") -> bytes:
    """The response of an attempt that ended well. LimitExceeded for a result that is too large; `label` names it."""
    response = _NOTHING if result is None else as_response(to_json(label, result))
    if len(response) > LIMITS.payload_bytes_max:
        raise LimitExceeded(
            Reason.LIMIT_EXCEEDED,
            f"The {label} has {len(response)} bytes; payload_bytes_max is {LIMITS.payload_bytes_max}",
            f"{len(response)} bytes",
            f"payload_bytes_max {LIMITS.payload_bytes_max}",
        )
    return response


def error_response(error: BaseException | str) -> bytes:
    """The response of an attempt that failed: the error's text and traceback."""
    if isinstance(error, str):
        message, lines = error, []
    else:
        message, lines = describe(error), _traceback(error)
    body = {"code": _ERROR_CODE, "message": message, "data": lines}
    return msgspec.json.encode({"jsonrpc": "2.0", "result": None, "error": body, "id": None})


def outlook(error: BaseException | str | None, *, gives_up: bool = False) -> dict[str, Any]:
    """Fields of a ChangeNode that say whether and when an attempt that failed so is followed by another."""
    wait = error.seconds if isinstance(error, RetryAfter) else None
    return {"retriable": not (gives_up or isinstance(error, Fail)), "retry_after_seconds": wait}


def text_of(error: BaseException) -> str:
    """An error's text as UTF-8 can hold it, whatever the error's own `str` does."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - an error that cannot say what it is must not end the worker
        text = "(its text cannot be made)"
    # Lone surrogates are no UTF-8.
    return text.encode(errors="replace").decode()


def describe(error: BaseException) -> str:
    """An error in a line: its type and its text."""
    text = text_of(error)
    return (f"{type(error).__name__}: {text}" if text else type(error).__name__)[:_MESSAGE_CHARACTERS_MAX]


def handlers_own(error: BaseException) -> TracebackType | None:
    """An error's traceback from the handler's first frame on: those before are the worker's own."""
    frame = error.__traceback__
    while frame is not None and _is_ours(Path(frame.tb_frame.f_code.co_filename)):
        frame = frame.tb_next
    return frame or error.__traceback__


def _is_ours(path: Path) -> bool:
    return path.is_relative_to(_PACKAGE) and not path.is_relative_to(_PACKAGE / "examples")


def _traceback(error: BaseException) -> list[str]:
    try:
        text = "".join(traceback.format_exception(type(error), error, handlers_own(error)))
    except BaseException:  # noqa: BLE001 - as above
        return []
    return text.encode(errors="replace").decode()[-_TRACEBACK_CHARACTERS_MAX:].splitlines()
