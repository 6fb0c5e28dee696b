"""Reason why bytes do not fit a schema: they are read again, slowly, to say where."""

from __future__ import annotations

import math
import struct
from typing import Any

from .named_types import NAMESPACE, Schema
from .varint import read_int, read_long


class _MisfitError(Exception):
    pass


def explain(schema: Schema, data: bytes, position: int) -> str:
    """The first thing that is wrong, with the field's path."""
    reader = _Reader(data, position)
    reader.learn(schema)
    try:
        reader.skip(schema, "")
    except _MisfitError as misfit:
        return str(misfit)
    left = len(data) - reader.position
    return f"{left} bytes left over" if left else "a status that its machine does not have"


class _Reader:
    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position
        self.types: dict[str, Schema] = {}

    def learn(self, schema: Any) -> None:
        """The named types: a name stands for what was spelt out before, perhaps where the data has null."""
        match schema:
            case list():
                for branch in schema:
                    self.learn(branch)
            case dict():
                if "name" in schema:
                    self.types[f"{schema.get('namespace', NAMESPACE)}.{schema['name']}"] = schema
                for field in schema.get("fields", ()):
                    self.learn(field["type"])
                self.learn(schema.get("items"))
            case _:
                pass  # a plain type, or the name of one that was learnt

    def skip(self, schema: Any, path: str) -> None:
        if isinstance(schema, str) and "." in schema:
            schema = self.types[schema]
        kind = schema if isinstance(schema, str) else "union" if isinstance(schema, list) else schema["type"]
        match kind:
            case "union":
                branch = self.number("int", path)
                if not 0 <= branch < len(schema):
                    raise _MisfitError(f"field `{path}` is branch {branch} of a union of {len(schema)}")
                self.skip(schema[branch], path)
            case "record":
                for field in schema["fields"]:
                    self.skip(field["type"], f"{path}.{field['name']}" if path else field["name"])
            case "array":
                self.array(schema["items"], path)
            case "enum":
                index = self.number("int", path)
                if not 0 <= index < len(schema["symbols"]):
                    raise _MisfitError(
                        f"field `{path}` is symbol {index} of {len(schema['symbols'])} of {schema['name']}"
                    )
            case "fixed":
                self.take(schema["size"], path)
            case "string" | "bytes":
                self.text(kind, path)
            case "int" | "long":
                self.number(kind, path)
            case "double":
                if not math.isfinite(struct.unpack("<d", self.take(8, path))[0]):
                    raise _MisfitError(f"field `{path}` is no finite number")
            case "boolean":
                if self.take(1, path) > b"\x01":
                    raise _MisfitError(f"field `{path}` is neither true nor false")
            case _:
                assert kind == "null", kind

    def array(self, items: Any, path: str) -> None:
        index = 0
        while count := self.number("long", path):
            if count < 0:
                self.number("long", path)
            if abs(count) > len(self.data) - self.position:
                raise _MisfitError(f"truncated: field `{path}` announces {abs(count)} items")
            for _ in range(abs(count)):
                self.skip(items, f"{path}[{index}]")
                index += 1

    def text(self, kind: str, path: str) -> None:
        size = self.number("long", path)
        if size < 0:
            raise _MisfitError(f"field `{path}` has the length {size}")
        content = self.take(size, path)
        if kind == "string":
            try:
                content.decode()
            except UnicodeDecodeError as error:
                raise _MisfitError(f"field `{path}` is no UTF-8: {error.reason}") from error

    def number(self, kind: str, path: str) -> int:
        if self.position >= len(self.data):
            raise _MisfitError(f"truncated: it ends before field `{path}`")
        try:
            number, self.position = (read_int if kind == "int" else read_long)(self.data, self.position)
        except ValueError as error:
            raise _MisfitError(f"field `{path}`: {error}") from error
        return number

    def take(self, size: int, path: str) -> bytes:
        rest = len(self.data) - self.position
        if size > rest:
            raise _MisfitError(f"truncated: field `{path}` has {rest} of {size} bytes")
        self.position += size
        return self.data[self.position - size : self.position]
