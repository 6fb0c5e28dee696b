"""A client's error, cut to what a record takes: message and backtrace are shortened, never refused.

An error that was refused would leave its node `processing` for ever: whoever failed has nothing better to say.
"""

from __future__ import annotations

from typing import Any

import msgspec

from backbeat.schemas.messages.bounds import Settings

#: A response has company in its record.
ERROR_BYTES_MAX = Settings().payload_bytes_max - 4_096

_CHARACTERS, _CHARACTERS_MIN = 65_536, 64
_ITEMS, _ITEMS_MIN = 1_024, 4

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def cut_error(response: bytes, bytes_max: int = ERROR_BYTES_MAX, levels_max: int | None = None) -> bytes:
    """The response of an `errored`, JSON text, with long texts and lists shortened until it fits.

    `levels_max`: how deep it may be nested; null: as deep as it is.
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
        return [_flattened(one, levels - 1) for one in value]
    if isinstance(value, dict):
        return {key: _flattened(one, levels - 1) for key, one in value.items()}
    return value


def _cut(value: Any, characters: int, items: int) -> Any:
    if isinstance(value, str) and len(value) > characters:
        return f"{value[:characters]} … ({len(value) - characters} characters more)"
    if isinstance(value, list):
        kept = [_cut(one, characters, items) for one in value[:items]]
        return kept if len(value) <= items else [*kept, f"… ({len(value) - items} more)"]
    if isinstance(value, dict):
        return {key: _cut(one, characters, items) for key, one in value.items()}
    return value
