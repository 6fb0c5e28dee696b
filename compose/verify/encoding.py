"""Encoding of a command: what an engine takes of Avro, which is less than the library reads.

The library takes numbers of any length, any byte for a boolean, and counts branches and symbols below 0 from the end.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

#: Moves behind the value at a position. EncodingError, IndexError: an engine does not take it.
Skip = Callable[[bytes, int], int]

_LONG_BYTES_MAX = 10
_BITS = {"int": 32, "long": 64}


class EncodingError(Exception):
    """A value that an engine does not take."""


def check(skip: Skip, body: bytes) -> None:
    """EncodingError: the body is not one value, and nothing behind it."""
    try:
        end = skip(body, 0)
    except (IndexError, struct.error) as error:
        raise EncodingError("it ends too early") from error
    if end != len(body):
        raise EncodingError("it ends too early" if end > len(body) else "bytes behind its end")


def skip_of(schema: Any, named: dict[str, Skip]) -> Skip:
    """The skip of a parsed schema. `named`: of the types that are spelled out before."""
    if isinstance(schema, str) and schema in named:
        return named[schema]
    kind = schema if isinstance(schema, str) else "union" if isinstance(schema, list) else schema["type"]
    match kind:
        case "null":
            return lambda _, position: position
        case "union":
            return _union([skip_of(branch, named) for branch in schema])
        case "array":
            return _array(skip_of(schema["items"], named))
        case "record":
            skip = _record([skip_of(field["type"], named) for field in schema["fields"]])
        case "enum":
            skip = _enum(len(schema["symbols"]))
        case "fixed":
            size = schema["size"]
            skip = lambda _, position: position + size  # noqa: E731
        case "string" | "bytes":
            return _text(is_string=kind == "string")
        case "int" | "long":
            bits = _BITS[kind]
            return lambda body, position: _number(body, position, bits)[1]
        case "double":
            return _double
        case _:
            assert kind == "boolean", kind
            return _boolean
    named[schema["name"]] = skip
    return skip


def _record(fields: list[Skip]) -> Skip:
    def skip(body: bytes, position: int) -> int:
        for field in fields:
            position = field(body, position)
        return position

    return skip


def _union(branches: list[Skip]) -> Skip:
    def skip(body: bytes, position: int) -> int:
        return branches[_index(body, position, len(branches))](body, position + 1)

    return skip


def _enum(symbol_count: int) -> Skip:
    def skip(body: bytes, position: int) -> int:
        _index(body, position, symbol_count)
        return position + 1

    return skip


def _index(body: bytes, position: int, count: int) -> int:
    """The index of a branch or a symbol: one byte."""
    index, is_negative = divmod(body[position], 2)
    if is_negative or index >= count:
        raise EncodingError("a branch or a symbol that there is not")
    return index


def _array(items: Skip) -> Skip:
    def skip(body: bytes, position: int) -> int:
        while True:
            count, position = _number(body, position, 64)
            if count == 0:
                return position
            if count < 0:
                count = -count
                _, position = _number(body, position, 64)
            if count > len(body) - position:
                raise EncodingError("an array of more items than there are bytes")
            for _ in range(count):
                position = items(body, position)

    return skip


def _text(*, is_string: bool) -> Skip:
    def skip(body: bytes, position: int) -> int:
        size, position = _number(body, position, 64)
        if size < 0:
            raise EncodingError("a negative length")
        if is_string:
            try:
                body[position : position + size].decode()
            except UnicodeDecodeError as error:
                raise EncodingError("no UTF-8") from error
        return position + size

    return skip


def _double(body: bytes, position: int) -> int:
    (number,) = struct.unpack_from("<d", body, position)
    if not math.isfinite(number):
        raise EncodingError("a number that is not finite")
    return position + 8


def _boolean(body: bytes, position: int) -> int:
    if body[position] > 1:
        raise EncodingError("neither true nor false")
    return position + 1


def _number(body: bytes, position: int, bits: int) -> tuple[int, int]:
    """The number at a position, and the position behind it."""
    number = shift = 0
    while True:
        byte = body[position]
        position += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the last one
            break
        if shift == 7 * _LONG_BYTES_MAX:
            raise EncodingError("a number without an end")
    if number >= 1 << bits:
        raise EncodingError(f"a number of more than {bits} bits")
    return (number >> 1) ^ -(number & 1), position
