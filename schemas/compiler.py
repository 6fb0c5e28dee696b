"""From a schema to two Python functions: one writes a struct as Avro, one reads it.

Why not fastavro on the hot path: it goes through a dict per record and walks the schema per field. Functions written
for one schema go from bytes to struct directly and are several times faster (tests/compose/bench/codec.py compares).
The bytes are the same: tests hold them against fastavro and Apache's avro, for every record.

Nothing but the types of `named_types` becomes code; no byte that comes from outside does.

In a compiled wheel the same lines are C: so they say the types of variables, and no variable has two.
"""

from __future__ import annotations

import inspect
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

from .named_types import NAMESPACE, NamedType, Schema
from .varint import SMALL, read_int, read_length, read_long, write_int, write_long

#: (struct, header) -> header and Avro
Encode = Callable[[Any, bytes], bytes]
#: (bytes, where the Avro begins) -> struct
Decode = Callable[[bytes, int], Any]

#: Kinds of types -> Python's type of their values.
_PYTHON = {"string": "str", "bytes": "bytes", "fixed": "bytes", "int": "int", "long": "int"}
#: Types whose bytes take one look at the value: no variable is made for them.
_READ_ONCE = frozenset({"enum", "boolean", "double"})


def compile_record(schema: Schema, named_types: Mapping[str, NamedType]) -> tuple[Encode, Decode]:
    """The two functions for one record."""
    source, names = source_of(schema, named_types)
    exec(compile(source, "<schema>", "exec"), names)  # noqa: S102 - see the head of this file
    return names[f"write_{schema['name']}"], names[f"read_{schema['name']}"]


def source_of(schema: Schema, named_types: Mapping[str, NamedType]) -> tuple[str, dict[str, Any]]:
    """The source of the two functions, and what the names in it stand for."""
    encoder, decoder = _Encoder(named_types), _Decoder(named_types)
    source = "\n".join((encoder.source(schema), decoder.source(schema)))
    return source, encoder.environment | decoder.environment


class _Writer:
    """Lines of one function, and what its names stand for."""

    #: begins the names of its tables
    prefix: str

    def __init__(self, named_types: Mapping[str, NamedType]) -> None:
        self.named_types = named_types
        self.types: dict[str, Schema] = {}
        self.lines: list[str] = []
        self.indent = 1
        self.count = 0
        #: attributes of the struct that is at hand, and their variables
        self.variables: dict[str, str] = {}
        self.environment: dict[str, Any] = {"Any": Any}

    def emit(self, line: str) -> None:
        self.lines.append("    " * self.indent + line)

    def new(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def kind(self, schema: Any) -> tuple[str, Any]:
        """The kind of a type and its definition; a name stands for what was spelled out before."""
        if isinstance(schema, list):
            null, other = schema
            assert null == "null", "unions are of null and one other type"
            return "union", other
        if isinstance(schema, str):
            if "." not in schema:
                return schema, schema
            schema = self.types[schema]
        elif "name" in schema:
            self.types[f"{schema.get('namespace', NAMESPACE)}.{schema['name']}"] = schema
        return schema["type"], schema

    def table(self, name: str, line: Callable[[int, Any], tuple[Any, Any]]) -> str:
        """An enum's table, with a line for each member; of merged enums, the table of the one that is meant."""
        members, by = self.named_types[name].members, self.named_types[name].by
        tables = [dict(line(*member) for member in places.items()) for places in (members if by else [members])]
        self.environment[f"{self.prefix}{name}"] = tables if by else tables[0]
        return f"{self.prefix}{name}[{self.variables[by]}]" if by else f"{self.prefix}{name}"

    def variable(self, schema: Any, value: str) -> str:
        """A new variable, of the type that a value of this kind has."""
        name = self.new()
        self.emit(f"{name}: {_PYTHON.get(self.kind(schema)[0], 'Any')} = {value}")
        return name


class _Encoder(_Writer):
    prefix = "Write"

    def source(self, schema: Schema) -> str:
        self.environment.update(SMALL=SMALL, write_long=write_long, write_int=write_int, pack=struct.Struct("<d").pack)
        parts = self.put(schema, "value")
        self.emit(f"return b''.join((header, {', '.join(parts)}))")
        return "\n".join((f"def write_{schema['name']}(value: Any, header: bytes) -> bytes:", *self.lines))

    def put(self, schema: Any, x: str) -> list[str]:
        """Lines that prepare `x`, and the expressions of its bytes, in order."""
        kind, schema = self.kind(schema)
        match kind:
            case "union":
                return self.union(schema, x)
            case "record":
                return self.record(schema, x)
            case "array":
                return self.array(schema["items"], x)
            case "enum":
                table = self.table(schema["name"], lambda index, member: (member, SMALL[index]))
                return [f"{table}[{x}]"]
            case "fixed":
                self.emit(f"if len({x}) != {schema['size']}: raise ValueError({x!r} + f': {{{x}!r}}')")
                return [x]
            case "string" | "bytes":
                content = self.variable("bytes", f"{x}.encode()") if kind == "string" else x
                size = self.new()
                self.emit(f"{size} = len({content})")
                return [f"(SMALL[{size}] if {size} < {len(SMALL)} else write_long({size}))", content]
            case "int" | "long":
                return [f"(SMALL[{x}] if 0 <= {x} < {len(SMALL)} else write_{kind}({x}))"]
            case "double":
                return [f"pack({x})"]
            case "boolean":
                return [f"(b'\\x01' if {x} else b'\\x00')"]
            case _:
                raise AssertionError(kind)

    def union(self, schema: Any, x: str) -> list[str]:
        out = self.new()
        self.emit(f"if {x} is None: {out} = b'\\x00'")
        self.emit("else:")
        self.indent += 1
        if self.kind(schema)[0] in _PYTHON:
            x = self.variable(schema, x)
        parts = self.put(schema, x)
        joined = f"b'\\x02' + {parts[0]}" if len(parts) == 1 else f"b''.join((b'\\x02', {', '.join(parts)}))"
        self.emit(f"{out} = {joined}")
        self.indent -= 1
        return [out]

    def record(self, schema: Schema, x: str) -> list[str]:
        attributes = self.named_types[schema["name"]].attributes
        parts: list[str] = []
        variables: dict[str, str] = {}
        for field in schema["fields"]:
            attribute = attributes.get(field["name"], field["name"])
            self.variables = variables
            value = f"{x}.{attribute}"
            if self.kind(field["type"])[0] not in _READ_ONCE:
                value = self.variable(field["type"], value)
            variables[attribute] = value
            parts += self.put(field["type"], value)
        return parts

    def array(self, items: Any, x: str) -> list[str]:
        out, parts, item = self.new(), self.new(), self.new()
        self.emit(f"if not {x}: {out} = b'\\x00'")
        self.emit("else:")
        self.indent += 1
        self.emit(f"{parts}: list[bytes] = [write_long(len({x}))]")
        self.emit(f"for {item} in {x}:")
        self.indent += 1
        self.emit(f"{parts} += ({', '.join(self.put(items, item))},)")
        self.indent -= 1
        self.emit(f"{parts}.append(b'\\x00')")
        self.emit(f"{out} = b''.join({parts})")
        self.indent -= 1
        return [out]


class _Decoder(_Writer):
    prefix = "Read"

    def source(self, schema: Schema) -> str:
        self.environment.update(
            read_length=read_length, read_int=read_int, read_long=read_long, unpack=struct.Struct("<d").unpack_from
        )
        self.take(schema, "value")
        # Slices beyond the end are short without a word: this is where it shows, as do bytes left over.
        self.emit("if p != len(d): raise ValueError")
        self.emit("return value")
        return "\n".join((f"def read_{schema['name']}(d: bytes, p: int) -> Any:", *self.lines))

    def take(self, schema: Any, out: str) -> None:
        """Lines that read a value at `p` into the variable `out` and move `p` behind it."""
        kind, schema = self.kind(schema)
        match kind:
            case "union":
                self.union(schema, out)
            case "record":
                self.record(schema, out)
            case "array":
                self.array(schema["items"], out)
            case "enum":
                # The index as it stands in one byte: any other byte is no member.
                table = self.table(schema["name"], lambda index, member: (index * 2, member))
                self.emit(f"{out} = {table}[d[p]]; p += 1")
            case "fixed":
                self.emit(f"{out} = d[p:p + {schema['size']}]; p += {schema['size']}")
            case "string" | "bytes":
                self.emit("n = d[p]")
                # One byte and not negative: the usual length.
                self.emit("if n & 0x81: n, p = read_length(d, p); n += p")
                self.emit("else: p += 1; n = p + (n >> 1)")
                self.emit(f"{out} = d[p:n]{'.decode()' if kind == 'string' else ''}; p = n")
            case "int" | "long":
                self.emit("n = d[p]")
                self.emit(f"if n & 0x81: {out}, p = read_{kind}(d, p)")
                self.emit(f"else: {out} = n >> 1; p += 1")
            case "double":
                self.emit(f"{out} = unpack(d, p)[0]; p += 8")
                self.emit(f"if {out} - {out} != 0.0: raise ValueError")
            case "boolean":
                self.emit("n = d[p]; p += 1")
                self.emit("if n > 1: raise ValueError")
                self.emit(f"{out} = n == 1")
            case _:
                raise AssertionError(kind)

    def union(self, schema: Any, out: str) -> None:
        self.emit(f"{out}: Any")
        self.emit("n = d[p]; p += 1")
        self.emit("if n == 2:")
        self.indent += 1
        self.take(schema, out)
        self.indent -= 1
        self.emit(f"elif n == 0: {out} = None")
        self.emit("else: raise ValueError")

    def record(self, schema: Schema, out: str) -> None:
        _, struct, _, _, attributes = self.named_types[schema["name"]]
        self.environment[f"Make{schema['name']}"] = struct
        variables: dict[str, str] = {}
        for field in schema["fields"]:
            self.variables = variables
            variables[attributes.get(field["name"], field["name"])] = value = self.new()
            self.take(field["type"], value)
        # A struct looks for each keyword among its fields: of thirty, that takes longer than to read them.
        places = _by_position(struct)
        arguments = [
            variable if index < len(places) and places[index] == attribute else f"{attribute}={variable}"
            for index, (attribute, variable) in enumerate(variables.items())
        ]
        self.emit(f"{out} = Make{schema['name']}({', '.join(arguments)})")

    def array(self, items: Any, out: str) -> None:
        count, item, parts = self.new(), self.new(), self.new()
        self.emit(f"{parts}: list[Any] = []")
        self.emit("while True:")
        self.indent += 1
        self.take("long", count)
        self.emit(f"if not {count}: break")
        # A negative count is followed by the block's bytes, for readers that skip.
        self.emit(f"if {count} < 0: {count} = -{count}; n, p = read_long(d, p)")
        # Every item has a byte at least: no count can make us work longer than the record is.
        self.emit(f"if {count} > len(d) - p: raise ValueError")
        self.emit(f"for _ in range({count}):")
        self.indent += 1
        self.take(items, item)
        self.emit(f"{parts}.append({item})")
        self.indent -= 2
        self.emit(f"{out} = tuple({parts})")


def _by_position(struct: type) -> list[str]:
    """Fields that a struct takes by position, in order."""
    parameters = inspect.signature(struct).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is not inspect.Parameter.KEYWORD_ONLY]


# --- the reason why bytes do not fit a schema: they are read again, slowly, to say where ---------------------------


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
                branch = self.index(path)
                if not 0 <= branch < len(schema):
                    raise _MisfitError(f"field `{path}` is branch {branch} of a union of {len(schema)}")
                self.skip(schema[branch], path)
            case "record":
                for field in schema["fields"]:
                    self.skip(field["type"], f"{path}.{field['name']}" if path else field["name"])
            case "array":
                self.array(schema["items"], path)
            case "enum":
                index = self.index(path)
                if not 0 <= index < len(schema["symbols"]):
                    count = len(schema["symbols"])
                    raise _MisfitError(f"field `{path}` is symbol {index} of {count} of {schema['name']}")
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

    def index(self, path: str) -> int:
        """The index of a branch or a symbol, which is one byte."""
        begin = self.position
        number = self.number("int", path)
        if (size := self.position - begin) > 1:
            raise _MisfitError(f"field `{path}`: an index of {size} bytes")
        return number

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
