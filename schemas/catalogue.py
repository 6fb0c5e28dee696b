"""The schemas in this folder: read, resolved so that each stands alone, fingerprinted.

A fingerprint is CRC-64-AVRO of the parsing canonical form (Avro specification), as 8 bytes in the order in which the
single-object header has them. `history/` keeps every version that was ever written, under its fingerprint.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import fastavro
from fastavro.schema import fingerprint as _fingerprint_text
from fastavro.schema import to_parsing_canonical_form

Schema: TypeAlias = dict[str, Any]

NAMESPACE = "backbeat"
FOLDER = Path(__file__).parent
HISTORY = FOLDER / "history"
#: The types that are parts of records and never cross a topic alone, in the order in which a parser must meet them.
SHARED = (
    "Uuid",
    "Mode",
    "Coalesce",
    "ClientStatus",
    "ServerStatus",
    "StatusType",
    "Status",
    "Reason",
    "ActivityKind",
    "ReplyTo",
    "Source",
    "NewNode",
    "NewWorkflow",
    "Settings",
    "LimitValues",
    "Limit",
    "RetentionPolicy",
    "RetentionPolicies",
    "DueWorkflow",
    "DueWorkflows",
    "Task",
    "LinkWait",
    "WorkflowView",
    "NodeView",
    "StatusChange",
    "NodeChange",
    "Done",
    "Made",
    "Rejection",
    "Nodes",
    "History",
    "Position",
    "PoolView",
    "LimitView",
    "Limits",
    "Overlap",
    "RunState",
    "RunCause",
    "NewSchedule",
    "ScheduleRun",
    "ScheduleView",
    "Schedules",
    "JobState",
    "JobFilter",
    "JobMatch",
    "JobRefusal",
    "Job",
    "Jobs",
)


class Record:
    """The schema of one kind of record, with all its types inside."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.name: str = schema["name"]

    @cached_property
    def fingerprint(self) -> bytes:
        """8 bytes that only this schema has."""
        return fingerprint(self.schema)

    @cached_property
    def parsed(self) -> Any:
        """As fastavro wants it."""
        return fastavro.parse_schema(self.schema, {})

    @property
    def full_name(self) -> str:
        """The name with its namespace."""
        return f"{self.schema.get('namespace', NAMESPACE)}.{self.name}"


def fingerprint(schema: Schema) -> bytes:
    """CRC-64-AVRO of a schema that stands alone, little-endian."""
    # fastavro's text is the number's bytes in that order already; a test holds it against Apache's library.
    return bytes.fromhex(_fingerprint_text(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def load_sources() -> dict[str, Schema]:
    """The files of this folder as they are, by name, in an order in which a parser can take them."""
    sources: dict[str, Schema] = {path.stem: json.loads(path.read_bytes()) for path in sorted(FOLDER.glob("*.avsc"))}
    # Signal is a record of its own and a part of OpenLink.
    first = [*SHARED, "Signal"]
    return {name: sources[name] for name in [*first, *(name for name in sources if name not in first)]}


def resolve(schema: Any, sources: Mapping[str, Schema], seen: set[str]) -> Any:
    """A schema with each named type spelled out where it is first used."""
    if isinstance(schema, list):
        return [resolve(one, sources, seen) for one in schema]
    if isinstance(schema, str):
        name = schema.removeprefix(NAMESPACE + ".")
        return schema if name == schema or name in seen else resolve(sources[name], sources, seen)
    if "name" in schema:
        seen.add(schema["name"])
    if "fields" in schema:
        fields = [{**field, "type": resolve(field["type"], sources, seen)} for field in schema["fields"]]
        return {**schema, "fields": fields}
    if "items" in schema:
        return {**schema, "items": resolve(schema["items"], sources, seen)}
    return schema


def load_records() -> dict[str, Record]:
    """The records that cross a topic, by name."""
    sources = load_sources()
    return {name: Record(resolve(source, sources, set())) for name, source in sources.items() if name not in SHARED}


def load_history() -> Iterator[tuple[bytes, Path]]:
    """The fingerprints of all versions that were ever written, and where their schemas are."""
    for path in sorted(HISTORY.glob("*.avsc")):
        yield bytes.fromhex(path.stem), path


RECORDS = load_records()
