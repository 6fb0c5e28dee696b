"""Errors of nodes: the message and the traceback in a response, whatever its client has put there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.status import ClientStatus, ServerStatus

_CHARACTERS_MAX = 20_000
_MESSAGE_KEYS = ("message", "error_message", "error", "exception")
_TRACEBACK_KEYS = ("data", "backtrace", "traceback", "stack")
_KLASS_KEYS = ("error_klass", "class", "type")


class ErrorText(msgspec.Struct, frozen=True):
    """An error as people read it."""

    at: int
    #: True for one of the engine itself.
    server: bool
    message: str
    traceback: str


def errors_of(history: Sequence[StatusChange]) -> list[ErrorText]:
    """Errors in a history, newest first."""
    return [
        _error_text(change)
        for change in reversed(history)
        if change.to_status == (ServerStatus.ERRORED if change.server else ClientStatus.ERRORED)
    ]


def _error_text(change: StatusChange) -> ErrorText:
    message, traceback = _read(change.response)
    return ErrorText(change.at, change.server, message[:_CHARACTERS_MAX], traceback[:_CHARACTERS_MAX])


def _read(response: bytes | None) -> tuple[str, str]:
    if response is None:
        return "no reason was given", ""
    try:
        value = msgspec.json.decode(response)
    except (msgspec.DecodeError, RecursionError):
        return response.decode(errors="replace"), ""
    error = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return _text(error), ""
    message = next((_text(error[key]) for key in _MESSAGE_KEYS if error.get(key)), "")
    klass = next((error[key] for key in _KLASS_KEYS if isinstance(error.get(key), str)), "")
    lines = next((error[key] for key in _TRACEBACK_KEYS if error.get(key)), "")
    traceback = "\n".join(line.rstrip("\n") for line in map(_text, lines)) if isinstance(lines, list) else _text(lines)
    if klass and klass not in message:
        message = f"{klass}: {message}" if message else klass
    return message or response.decode(errors="replace"), traceback


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode(errors="replace")
