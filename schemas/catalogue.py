"""Schemas of the records, resolved so that each stands alone, fingerprinted; and the files of this folder.

A fingerprint is CRC-64-AVRO of the parsing canonical form (Avro specification), as 8 bytes in the order in which the
single-object header has them. `history/` keeps every version that was ever written, under its fingerprint.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from .named_types import NAMESPACE, RECORD_NAMES, TYPES, Schema

FOLDER = Path(__file__).parent
HISTORY = FOLDER / "history"
#: The file of the kept fingerprints, by the digests of their schemas.
FINGERPRINTS = "fingerprints.json"


class Record:
    """The schema of one kind of record, with all its types inside."""

    def __init__(self, schema: Schema, kept_as: bytes | None = None) -> None:
        """`kept_as`: its fingerprint, where it is kept under that."""
        self.schema = schema
        self.name: str = schema["name"]
        self._kept_as = kept_as

    @cached_property
    def fingerprint(self) -> bytes:
        """8 bytes that only this schema has."""
        return self._kept_as or _kept_fingerprints().get(digest(self.schema)) or fingerprint(self.schema)

    @cached_property
    def parsed(self) -> Any:
        """The schema as fastavro parses it."""
        import fastavro  # noqa: PLC0415 - as in `fingerprint`

        return fastavro.parse_schema(self.schema, {})

    @property
    def full_name(self) -> str:
        """The name with its namespace."""
        return f"{self.schema.get('namespace', NAMESPACE)}.{self.name}"


@cache
def _kept_fingerprints() -> dict[str, bytes]:
    """Fingerprints of today's records. One whose struct has changed since `make schemas` is not among them."""
    texts: dict[str, str] = json.loads((FOLDER / FINGERPRINTS).read_bytes())
    return {key: bytes.fromhex(text) for key, text in texts.items()}


def digest(schema: Schema) -> str:
    """The key of a schema's fingerprint in the file: much quicker to make than the fingerprint."""
    return blake2b(json.dumps(schema).encode(), digest_size=16).hexdigest()


def fingerprint(schema: Schema) -> bytes:
    """CRC-64-AVRO of a schema that stands alone, little-endian."""
    # Only for a schema whose fingerprint is not kept: what is imported takes a tenth of a worker's start.
    from fastavro.schema import fingerprint as as_text  # noqa: PLC0415
    from fastavro.schema import to_parsing_canonical_form  # noqa: PLC0415

    # fastavro's text is the number's bytes in that order already; a test holds it against Apache's library.
    return bytes.fromhex(as_text(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def resolve(schema: Any, sources: Mapping[str, Schema], seen: set[str]) -> Any:
    """A schema with each named type spelled out where it is first used."""
    match schema:
        case str():
            name = schema.removeprefix(NAMESPACE + ".")
            return schema if name == schema or name in seen else resolve(sources[name], sources, seen)
        case list():
            return [resolve(branch, sources, seen) for branch in schema]
        case {"items": items}:
            return {**schema, "items": resolve(items, sources, seen)}
        case {"name": name}:
            seen.add(name)
            fields = [{**field, "type": resolve(field["type"], sources, seen)} for field in schema.get("fields", ())]
            return {**schema, "fields": fields} if fields else schema
        case _:
            return schema


def stand_alone(name: str, sources: Mapping[str, Schema]) -> Schema:
    """A record's schema with all its types inside."""
    schema: Schema = resolve(sources[name], sources, set())
    return schema


def load_sources() -> dict[str, Schema]:
    """Schemas with their documentation, from the files, by name, in an order in which a parser can take them."""
    return {name: json.loads((FOLDER / f"{name}.avsc").read_bytes()) for name in TYPES}


def documented(name: str) -> Schema:
    """A record's schema with all its types inside, with their documentation."""
    schema = stand_alone(name, load_sources())
    assert fingerprint(schema) == RECORDS[name].fingerprint, (
        f"the file of {name}, or of a type in it, differs from its struct. What to do: make schemas"
    )
    return schema


def load_history() -> Iterator[tuple[bytes, Path]]:
    """Fingerprints of all versions that were ever written, and the files of their schemas."""
    for path in sorted(HISTORY.glob("*.avsc")):
        yield bytes.fromhex(path.stem), path


_SCHEMAS = {name: named.schema for name, named in TYPES.items()}
#: Records that cross a topic, by name.
RECORDS = {name: Record(stand_alone(name, _SCHEMAS)) for name in RECORD_NAMES}


def find_record(key: bytes) -> Record | None:
    """The record whose schema has this fingerprint, today's or an older version of it; null: there is none."""
    path = HISTORY / f"{key.hex()}.avsc"
    if path.is_file():
        return as_current(Record(json.loads(path.read_bytes()), key))
    # Only a struct that has changed since `make schemas` is not kept: all of them are looked at for nobody else.
    return next((record for record in RECORDS.values() if record.fingerprint == key), None)


def as_current(record: Record) -> Record:
    """Today's record where it has the same schema, else this one."""
    current = RECORDS.get(record.name)
    return current if current is not None and current.fingerprint == record.fingerprint else record
