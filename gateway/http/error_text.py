"""Errors of clients, cut to the size of a record: message and backtrace are shortened, never refused.

A refused error would leave its node `processing` for ever: the client has nothing better to send.
"""

from __future__ import annotations

from typing import Any

import msgspec

from backbeat.schemas.messages.bounds import Settings

#: Largest error: a record holds more than the response.
ERROR_BYTES_MAX = Settings().payload_bytes_max - 4_096

_CHARACTERS, _CHARACTERS_MIN = 65_536, 64
_ITEMS, _ITEMS_MIN = 1_024, 4

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def cut_error(response: bytes, bytes_max: int = ERROR_BYTES_MAX, levels_max: int | None = None) -> bytes:
    """The response of an `errored`, JSON text, with long texts and lists shortened until it fits `bytes_max`.

    `levels_max`: greatest depth of nesting; None: unlimited.
    """
    if len(response) <= bytes_max and levels_max is None:
        return response
    value = _decode(response)
    if levels_max is not None:
        value = _flattened(value, levels_max)
    characters, items = 4 * _CHARACTERS, 4 * _ITEMS
    while characters >= _CHARACTERS_MIN:
        text = _encode(_cut(value, characters, max(items, _ITEMS_MIN)))
        if len(text) <= bytes_max:
            return text
        characters, items = characters // 2, items // 2
    return _encode({"error": {"message": f"{_encode(value)[:1_000].decode(errors='ignore')} …"}})


def _flattened(value: Any, levels: int) -> Any:
    if isinstance(value, (dict, list)) and levels <= 0:
        return "…"
    if isinstance(value, list):
        return [_flattened(item, levels - 1) for item in value]
    if isinstance(value, dict):
        return {key: _flattened(item, levels - 1) for key, item in value.items()}
    return value


def _cut(value: Any, characters: int, items: int) -> Any:
    if isinstance(value, str) and len(value) > characters:
        return f"{value[:characters]} … ({len(value) - characters} characters more)"
    if isinstance(value, list):
        shortened = [_cut(item, characters, items) for item in value[:items]]
        return shortened if len(value) <= items else [*shortened, f"… ({len(value) - items} more)"]
    if isinstance(value, dict):
        return {key: _cut(item, characters, items) for key, item in value.items()}
    return value
