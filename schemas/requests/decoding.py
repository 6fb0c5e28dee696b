"""Structs decoded from any thread: what msgspec makes for a type is made for one type at a time.

msgspec reads the fields of a struct when it is first decoded. Meanwhile another thread that decodes the same struct
gets it with fields that are not read yet, and the process ends with a segmentation fault (`mpack_decode`, at address
0). Decoders that modules make when they are imported are made before there are other threads.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_making = threading.Lock()
_of_json: dict[Any, msgspec.json.Decoder[Any]] = {}
_of_msgpack: dict[Any, msgspec.msgpack.Decoder[Any]] = {}


def from_json(text: bytes | str, kind: type[T]) -> T:
    """The value of a JSON text. msgspec.DecodeError."""
    decoder = _of_json.get(kind)
    if decoder is None:
        with _making:
            decoder = _of_json.setdefault(kind, msgspec.json.Decoder(kind))
    value: T = decoder.decode(text)
    return value


def from_msgpack(content: bytes, kind: type[T]) -> T:
    """The value of a text in MessagePack. msgspec.DecodeError."""
    decoder = _of_msgpack.get(kind)
    if decoder is None:
        with _making:
            decoder = _of_msgpack.setdefault(kind, msgspec.msgpack.Decoder(kind))
    value: T = decoder.decode(content)
    return value


def prepare(kind: Any) -> None:
    """Read the fields of a type, so that any thread may convert values to it."""
    with _making:
        msgspec.json.Decoder(kind)
