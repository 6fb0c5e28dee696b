"""Keys in camelCase outside and snake_case inside; JSON text made compact without touching its values.

Keys are rewritten in the text itself: a number keeps its digits and an object the order of its keys, unlike in a round
trip through Python values.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import msgspec

#: String in compact JSON, and the colon behind it if it is a key.
_TEXT = re.compile(rb'"((?:[^"\\]|\\.)*)"(:?)')
#: The same, or a bracket.
_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*)"(:?)|[][{}]')
#: Keys whose values are not rewritten.
_UNTOUCHED = frozenset({"client_data", "metadata", "clientData"})

_ACRONYM_END = re.compile(r"([A-Z\d]+)([A-Z][a-z])")
_HUMP = re.compile(r"([a-z\d])([A-Z])")
_JOINT = re.compile(r"(_|/)([a-zA-Z\d]*)")

_encode = msgspec.json.encode
_decode_text = msgspec.json.Decoder(str).decode


@lru_cache(maxsize=4096)
def snake(word: str) -> str:
    """`clientData` as `client_data`, `HTTPCode` as `http_code`, `a-b` as `a_b`: as Ruby's `underscore` has it."""
    word = word.replace("::", "/")
    word = _ACRONYM_END.sub(r"\1_\2", word)
    word = _HUMP.sub(r"\1_\2", word)
    return word.replace("-", "_").lower()


@lru_cache(maxsize=4096)
def camel(word: str) -> str:
    """`order_id` as `orderId`: as Ruby's `camelize(:lower)` has it."""
    word = word[:1].lower() + word[1:]
    return _JOINT.sub(lambda joint: ("::" if joint[1] == "/" else "") + joint[2].capitalize(), word)


def compact(text: bytes | memoryview | msgspec.Raw) -> bytes:
    """JSON text without white space and without needless escapes.

    Texts are compared and searched in this form. msgspec.DecodeError: invalid JSON.
    """
    compacted = bytes(msgspec.json.format(bytes(text), indent=-1))
    if b"\\" not in compacted:
        return compacted
    return _TEXT.sub(_plain, compacted)


def _plain(text: re.Match[bytes]) -> bytes:
    if b"\\" not in text[1]:
        return text[0]
    return _encode(_decode_text(b'"' + text[1] + b'"')) + text[2]


def snake_keys(text: bytes | msgspec.Raw) -> bytes:
    """JSON text, compact, with its keys in snake_case at any depth, except inside client data and metadata."""
    return _with_keys(text, snake)


def camel_keys(text: bytes | msgspec.Raw) -> bytes:
    """JSON text, compact, with its keys in camelCase at any depth, except inside client data and metadata."""
    return _with_keys(text, camel)


def _with_keys(text: bytes | msgspec.Raw, convert: Callable[[str], str]) -> bytes:
    compacted = compact(text)
    if b":" not in compacted:
        return compacted
    depth = 0
    #: Depth at which an untouched value began; deeper keys belong to it.
    untouched = -1

    def convert_token(token: re.Match[bytes]) -> bytes:
        nonlocal depth, untouched
        first = token[0][:1]
        if first != b'"':
            depth += 1 if first in b"[{" else -1
            return token[0]
        if not token[2] or 0 <= untouched < depth:
            return token[0]
        key = convert(_decode_text(b'"' + token[1] + b'"'))
        untouched = depth if key in _UNTOUCHED else -1
        return _encode(key) + b":"

    return _TOKEN.sub(convert_token, compacted)
