"""Commands as a foreign program reads them: fastavro and the .avsc files, nothing of our own codec.

A record begins with C3 01 and the fingerprint of its writer's schema (single-object encoding), or with 00 and the id
that a schema registry gave it. It is resolved to today's schema of its name by Avro's rules.
"""

from __future__ import annotations

import io
import json
from importlib import resources
from typing import Any, NamedTuple

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from backbeat.compose.verify.encoding import EncodingError, Skip, check, skip_of
from backbeat.schemas import registry

_SINGLE_OBJECT = b"\xc3\x01"
_HEADER_BYTES = 10
_REGISTRY_HEADER_BYTES = 5

Command = dict[str, Any]


class UnreadableError(Exception):
    """A record that is no command: the engine puts it aside, and it changes nothing."""


class _Writer(NamedTuple):
    """A schema with which commands are, or were, written."""

    name: str
    schema: Any
    skip: Skip


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
        self._writers: dict[bytes, _Writer] = {}
        for name in self._readers:
            self._learn(_whole(name, sources, set()))
        for file in (folder / "history").iterdir():
            if file.name.endswith(".avsc"):
                self._learn(json.loads(file.read_bytes()))
        self._registry = registry.connect(registry_url) if registry_url else None
        self._by_registry_id: dict[bytes, _Writer] = {}

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
        name, schema, skip = writer
        reader = self._readers[name]
        body = value[start:]
        try:
            check(skip, body)
            command: Command = fastavro.schemaless_reader(
                io.BytesIO(body), schema, None if schema is reader else reader
            )
        except EncodingError as error:
            raise UnreadableError(f"{name}: {error}") from error
        except Exception as error:  # the library raises whatever it meets
            raise UnreadableError(f"{name}: {error!r}") from error
        return name, command

    def _learn(self, schema: Any) -> _Writer | None:
        name = schema["name"]
        if name not in self._readers:
            return None
        key = bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))
        if key not in self._writers:
            parsed = fastavro.parse_schema(schema, {})
            known = self._readers[name] if parsed == self._readers[name] else parsed
            self._writers[key] = _Writer(name, known, skip_of(known, {}))
        return self._writers[key]

    def _of_registry(self, key: bytes) -> _Writer | None:
        assert self._registry is not None
        if key not in self._by_registry_id:
            writer = self._learn(self._registry.schema(int.from_bytes(key[1:], "big")))
            if writer is None:
                return None
            self._by_registry_id[key] = writer
        return self._by_registry_id[key]


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
