"""Records as bytes: the header that names their schema, and their Avro.

Two forms. Single-object encoding (Avro specification): C3 01, the schema's fingerprint (8 bytes), the Avro.
Confluent's: 00, the id that a schema registry gave the schema (4 bytes), the Avro. We write the second where a registry
is configured, else the first; we read the first always and the second with a registry. The schema is the type.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
import struct
from typing import Any

from . import catalogue, registry
from .catalogue import RECORDS, Record
from .compiler import Decode, Encode, compile_record, explain
from .errors import DecodeError, EncodeError, UnknownSchemaError
from .named_types import TYPES, Schema

MARKER = b"\xc3\x01"
CONFLUENT_MARKER = b"\x00"
REGISTRY_VARIABLE = "BACKBEAT_SCHEMA_REGISTRY_URL"
HEADER_BYTES = 10
CONFLUENT_HEADER_BYTES = 5

#: Modules in Python run, whatever lies beside them (`streams.compiled` has the same word).
_PURE_VARIABLE = "BACKBEAT_PURE"
#: The functions of some records, made ahead and compiled, where this installation is a wheel that has them.
_HOT_RECORDS = "backbeat.schemas.hot_records"

#: What writing a value that does not fit its schema may raise; and reading bytes that do not.
_MISFITS = (TypeError, AttributeError, ValueError, LookupError, struct.error)


def compiled_functions(name: str) -> tuple[Encode, Decode] | None:
    """The two functions for a record in C; null: there are none, or all is to be Python."""
    if os.environ.get(_PURE_VARIABLE) or importlib.util.find_spec(_HOT_RECORDS) is None:
        return None
    functions = vars(importlib.import_module(_HOT_RECORDS))
    return (functions[f"write_{name}"], functions[f"read_{name}"]) if f"write_{name}" in functions else None


class Wire:
    """Encoder and decoder of all records. Each is compiled when it is first met."""

    def __init__(self, registry_url: str | None = None) -> None:
        self._registry = registry.connect(registry_url) if registry_url else None
        self._compiled: dict[str, tuple[Encode, Decode]] = {}
        #: name -> (its function, what it writes in front)
        self._encoders: dict[str, tuple[Encode, bytes]] = {}
        #: first bytes -> (name, its function)
        self._decoders: dict[bytes, tuple[str, Decode]] = {}
        self._by_registry_id: dict[bytes, tuple[str, Decode]] = {}

    def encode(self, name: str, value: Any) -> bytes:
        """A struct as a record of this name."""
        encoder = self._encoders.get(name) or self._prepare(name)
        try:
            return encoder[0](value, encoder[1])
        except _MISFITS as error:
            # Not the value: what stands in it may be secret, and the text goes to logs.
            raise EncodeError(f"{name} does not fit its schema: {error}") from error

    def decode(self, value: bytes) -> tuple[str, Any]:
        """The record's name and the struct in it."""
        decoder = self._decoders.get(value[:HEADER_BYTES])
        if decoder is not None:
            start = HEADER_BYTES
        elif value[:2] == MARKER:
            decoder, start = self._of_fingerprint(value), HEADER_BYTES
        elif value[:1] == CONFLUENT_MARKER:
            decoder, start = self._of_registry_id(value), CONFLUENT_HEADER_BYTES
        else:
            raise DecodeError(
                f"no record: it begins with {value[:2].hex(' ') or 'nothing'}, neither with {MARKER.hex(' ')} and a "
                "fingerprint nor with 00 and a schema id"
            )
        name, decode = decoder
        try:
            return name, decode(value, start)
        except DecodeError:
            raise
        except _MISFITS as error:
            raise DecodeError(f"{name}: {explain(RECORDS[name].schema, value, start)}") from error

    def find_schema(self, fingerprint: bytes) -> Schema | None:
        """The schema of this fingerprint, of today or of an older version; None: there is none."""
        record = catalogue.find_record(fingerprint)
        return None if record is None else record.schema

    def learn(self, schema: Schema) -> None:
        """Read records of a schema that is newer than this version, as today's. ValueError: it is no schema of ours."""
        try:
            writer = Record(schema)
            key = MARKER + writer.fingerprint
        except Exception as error:  # the library raises whatever it meets
            raise ValueError(f"what should be a schema is none: {error!r}") from error
        self._decoders[key] = self._translator(writer)

    def _functions(self, name: str) -> tuple[Encode, Decode]:
        if name not in self._compiled:
            self._compiled[name] = compiled_functions(name) or compile_record(RECORDS[name].schema, TYPES)
        return self._compiled[name]

    def _prepare(self, name: str) -> tuple[Encode, bytes]:
        record = RECORDS[name]
        if self._registry is not None:
            schema_id = self._registry.register(record.full_name, json.dumps(catalogue.documented(name)))
            header = CONFLUENT_MARKER + schema_id.to_bytes(4, "big")
        else:
            header = MARKER + record.fingerprint
        self._encoders[name] = self._functions(name)[0], header
        return self._encoders[name]

    def _of_fingerprint(self, value: bytes) -> tuple[str, Decode]:
        key = value[2:HEADER_BYTES]
        if len(value) < HEADER_BYTES:
            raise DecodeError(f"truncated: {len(value)} of the {HEADER_BYTES} bytes of a header")
        record = catalogue.find_record(key)
        if record is None:
            raise UnknownSchemaError(f"unknown fingerprint {key.hex()}: the schema is no version of any of ours", key)
        decoder = self._decoder_of(record)
        self._decoders[value[:HEADER_BYTES]] = decoder
        return decoder

    def _of_registry_id(self, value: bytes) -> tuple[str, Decode]:
        if self._registry is None:
            raise DecodeError(f"Confluent's format, and no schema registry is configured ({REGISTRY_VARIABLE})")
        key = value[:CONFLUENT_HEADER_BYTES]
        if len(key) < CONFLUENT_HEADER_BYTES:
            raise DecodeError(f"truncated: {len(value)} of the {CONFLUENT_HEADER_BYTES} bytes of a header")
        decoder = self._by_registry_id.get(key)
        if decoder is None:
            writer = Record(self._registry.schema(int.from_bytes(key[1:], "big")))
            decoder = self._decoder_of(catalogue.as_current(writer))
            self._by_registry_id[key] = decoder
        return decoder

    def _decoder_of(self, writer: Record) -> tuple[str, Decode]:
        if writer is RECORDS.get(writer.name):
            return writer.name, self._functions(writer.name)[1]
        return self._translator(writer)

    def _translator(self, writer: Record) -> tuple[str, Decode]:
        """Name and decoder of a record in another version: resolved by Avro's rules into today's, then decoded.

        Slow, and only for what was written before an upgrade, or by a service with a schema of its own.
        """
        reader = RECORDS.get(writer.name)
        if reader is None or writer.full_name != reader.full_name:
            raise DecodeError(f"{writer.full_name} is no record of ours")
        import fastavro  # noqa: PLC0415 - as in `catalogue.fingerprint`

        decode = self._functions(reader.name)[1]

        def translate(value: bytes, start: int) -> Any:
            source, target = io.BytesIO(value), io.BytesIO()
            source.seek(start)
            try:
                content = fastavro.schemaless_reader(source, writer.parsed, reader.parsed)
                fastavro.schemaless_writer(target, reader.parsed, content)
            except Exception as error:  # the library raises whatever it meets, EOFError to KeyError
                raise DecodeError(f"{reader.name}, of an other version of its schema: {error!r}") from error
            if source.tell() != len(value):
                raise DecodeError(f"{reader.name}: {len(value) - source.tell()} bytes left over")
            return decode(target.getvalue(), 0)

        return reader.name, translate
