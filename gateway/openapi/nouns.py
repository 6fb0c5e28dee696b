"""Schemas of nouns, made from the structs that their answers and requests are made of."""

from __future__ import annotations

from typing import Any

import msgspec

from backbeat.client.jobs.views import Job, JobFilter, JobMatch, JobRefusal
from backbeat.client.limits.views import ActivityLimit, LimitPool
from backbeat.client.schedules.views import Run, Schedule
from backbeat.client.search import SearchCount
from backbeat.client.waits import Child, FailingStep, Outcome, Wait
from backbeat.gateway.api.health import Health, Stats, Today
from backbeat.gateway.api.operations.audit import AuditEntry
from backbeat.gateway.api.shapes.engines import EngineReport
from backbeat.gateway.api.shapes.jobs import NewJob
from backbeat.gateway.api.shapes.letters import Letter, LetterMark, NewSettling, SettledLetter, WholeLetter
from backbeat.gateway.api.shapes.limits import NewLimit
from backbeat.gateway.api.shapes.queues import QueueReport
from backbeat.gateway.api.shapes.reports import Activities, Causes, Daily, Failures, Summary
from backbeat.gateway.api.shapes.retention import ArchivedWorkflow, ArchiveEntry, NewRetention, Policy
from backbeat.gateway.api.shapes.siblings import ChildCounts
from backbeat.gateway.api.shapes.timeline import Timeline
from backbeat.gateway.http.presentation import Branch, ErrorRow, Tree
from backbeat.gateway.openapi.types import Schema
from backbeat.payload.nouns import json_names
from backbeat.transport.http_nouns import Error, Node, Rejection, StatusChange, User, Workflow

_NOUNS: tuple[type[msgspec.Struct], ...] = (
    *(Workflow, Node, StatusChange, Branch, Tree, User, ErrorRow, Error, Rejection, SearchCount, Health, Stats, Today),
    *(Job, JobFilter, JobMatch, JobRefusal, ActivityLimit, LimitPool, Schedule, Run, Wait, Child, Outcome, FailingStep),
    *(Letter, WholeLetter, LetterMark, SettledLetter),
)
#: Names in the description of those that have another one in the SDK.
_NAMES = {"ActivityLimit": "Limit", "LimitPool": "Pool"}


def _schemas(*kinds: type[msgspec.Struct]) -> dict[str, Schema]:
    _, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    return {_name(name): {**_plain(schema), "title": _name(name)} for name, schema in components.items()}


def _name(name: str) -> str:
    return _NAMES.get(name, name)


def _plain(schema: Any) -> Any:
    """A schema whose null is a type beside another one, and whose references have the description's names."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _plain(value) for name, value in schema.items()}
    if "$ref" in plain:
        folder, _, name = plain["$ref"].rpartition("/")
        plain["$ref"] = f"{folder}/{_name(name)}"
    match plain:
        case {"anyOf": [{"type": str(kind), **constraints}, {"type": "null"}]}:
            del plain["anyOf"]
            plain = {"type": [kind, "null"], **constraints, **plain}
            if "enum" in plain:
                plain["enum"] = [*plain["enum"], None]
        case _:
            pass
    return plain


def _closed(schema: Schema, kind: type[msgspec.Struct]) -> Schema:
    """The schema of an answer: every key is always there, and no other."""
    names = json_names(kind)
    properties = {name: schema["properties"][name] for name in names}
    for value in properties.values():
        value.pop("default", None)
    return {**schema, "properties": properties, "required": names, "additionalProperties": False}


_answers = _schemas(*_NOUNS)
ANSWERS: dict[str, Schema] = {
    **{_name(kind.__name__): _closed(_answers[_name(kind.__name__)], kind) for kind in _NOUNS},
    **_schemas(
        Summary,
        Activities,
        Causes,
        Failures,
        Daily,
        QueueReport,
        EngineReport,
        AuditEntry,
        Timeline,
        ChildCounts,
        Policy,
        ArchiveEntry,
        ArchivedWorkflow,
    ),
}
REQUESTS: dict[str, Schema] = _schemas(NewLimit, NewJob, NewSettling, NewRetention)
# A form names one letter.
_SETTLING = REQUESTS["NewSettling"]
_POSITIONS = _SETTLING["properties"]["positions"]
REQUESTS["NewSettlingAsForm"] = {
    **_SETTLING,
    "properties": {**_SETTLING["properties"], "positions": _POSITIONS["items"]},
}
