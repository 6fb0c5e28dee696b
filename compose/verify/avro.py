"""Commands as a foreign program reads them: fastavro and the .avsc files, nothing of our own codec.

A record begins with C3 01 and the fingerprint of its writer's schema (single-object encoding), or with 00 and the id
that a schema registry gave it. It is resolved to today's schema of its name by Avro's rules.
"""

from __future__ import annotations

import io
import json
import math
import re
from importlib import resources
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from backbeat.schemas import registry

_SINGLE_OBJECT = b"\xc3\x01"
_HEADER_BYTES = 10
_REGISTRY_HEADER_BYTES = 5
#: The last bytes of a double that is not finite, among others: few records are looked at for one.
_MAYBE_NOT_FINITE = re.compile(rb"[\xf0-\xff][\x7f\xff]")

Command = dict[str, Any]


class UnreadableError(Exception):
    """A record that is no command: the engine puts it aside, and it changes nothing."""


class Commands:
    """A reader of the records of `backbeat.commands`."""

    def __init__(self, registry_url: str | None = None) -> None:
        """`registry_url`: the schema registry of records in Confluent's format; null: there is none."""
        folder = resources.files("backbeat.schemas")
        files = [file for file in folder.iterdir() if file.name.endswith(".avsc")]
        sources = {file.name.removesuffix(".avsc"): json.loads(file.read_bytes()) for file in files}
        #: name -> today's schema of the record
        self._readers = {
            name: fastavro.parse_schema(_whole(name, sources, set()), {})
            for name, source in sources.items()
            if source.get("type") == "record" and source.get("doc", "").startswith("Command.")
        }
        self._writers: dict[bytes, tuple[str, Any]] = {}
        for name in self._readers:
            self._learn(_whole(name, sources, set()))
        for file in (folder / "history").iterdir():
            if file.name.endswith(".avsc"):
                self._learn(json.loads(file.read_bytes()))
        self._registry = registry.connect(registry_url) if registry_url else None
        self._by_registry_id: dict[bytes, tuple[str, Any]] = {}

    def read(self, value: bytes | None) -> tuple[str, Command]:
        """The name of a command and its fields. UnreadableError: it is none."""
        if value is None:
            raise UnreadableError("no value")
        if value[:2] == _SINGLE_OBJECT:
            start, writer = _HEADER_BYTES, self._writers.get(value[2:_HEADER_BYTES])
        elif value[:1] == b"\0" and self._registry is not None:
            start, writer = _REGISTRY_HEADER_BYTES, self._of_registry(value[:_REGISTRY_HEADER_BYTES])
        else:
            start, writer = 0, None
        if writer is None:
            raise UnreadableError("neither a fingerprint nor a registry's id of a command's schema")
        name, schema = writer
        reader = self._readers[name]
        body = value[start:]
        stream = io.BytesIO(body)
        try:
            command: Command = fastavro.schemaless_reader(stream, schema)
            _check_strictly(name, schema, command, body, stream.tell())
            if schema is not reader:
                command = fastavro.schemaless_reader(io.BytesIO(body), schema, reader)
        except UnreadableError:
            raise
        except Exception as error:  # the library raises whatever it meets
            raise UnreadableError(f"{name}: {error!r}") from error
        return name, command

    def _learn(self, schema: Any) -> tuple[str, Any] | None:
        name = schema["name"]
        if name not in self._readers:
            return None
        key = bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))
        if key not in self._writers:
            parsed = fastavro.parse_schema(schema, {})
            self._writers[key] = name, self._readers[name] if parsed == self._readers[name] else parsed
        return self._writers[key]

    def _of_registry(self, key: bytes) -> tuple[str, Any] | None:
        assert self._registry is not None
        if key not in self._by_registry_id:
            writer = self._learn(self._registry.schema(int.from_bytes(key[1:], "big")))
            if writer is None:
                return None
            self._by_registry_id[key] = writer
        return self._by_registry_id[key]


def _check_strictly(name: str, schema: Any, command: Command, body: bytes, end: int) -> None:
    """UnreadableError: what the library reads, and Avro does not allow or an engine does not take.

    It takes any byte for a boolean, and counts branches and symbols below 0 from the end: written again such a record
    is as long as it was, and another. (What is allowed in several ways, a number or an array, is longer than written
    again.) No field may be a number that is not finite.
    """
    if end < len(body):
        raise UnreadableError(f"{name}: bytes behind its end")
    again = io.BytesIO()
    fastavro.schemaless_writer(again, schema, command)
    if again.tell() == len(body) and again.getvalue() != body:
        raise UnreadableError(f"{name}: a boolean, a branch or a symbol that there is not")
    if _MAYBE_NOT_FINITE.search(body) and not _is_finite(command):
        raise UnreadableError(f"{name}: a number that is not finite")


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_is_finite(part) for part in value.values())
    return not isinstance(value, list) or all(_is_finite(part) for part in value)


def _whole(name: str, sources: dict[str, Any], seen: set[str]) -> Any:
    """A schema with each type that it names written out where it comes first."""

    def spelled(schema: Any) -> Any:
        if isinstance(schema, str):
            short = schema.removeprefix("backbeat.")
            return schema if schema == short or short in seen else spelled(sources[short])
        if isinstance(schema, list):
            return [spelled(branch) for branch in schema]
        if schema["type"] == "array":
            return {**schema, "items": spelled(schema["items"])}
        if "name" in schema:
            seen.add(schema["name"])
        if "fields" in schema:
            return {**schema, "fields": [{**field, "type": spelled(field["type"])} for field in schema["fields"]]}
        return schema

    return spelled(sources[name])
