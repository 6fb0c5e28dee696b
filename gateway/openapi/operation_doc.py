"""Description of one operation, and of a query parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backbeat.gateway.openapi.types import Schema

JSON = "application/json"
PLAIN = "text/plain"
HTML = "text/html"

Parameter = dict[str, Any]
Parameters = tuple[Parameter, ...]


@dataclass(frozen=True, kw_only=True)
class OperationDoc:
    """An operation of the document."""

    answer: Schema
    #: Example of an answer.
    example: Any
    text: str = ""
    status: int = 200
    media_type: str = JSON
    query: Parameters = ()
    #: Name of the body's schema.
    body: str | None = None
    #: Name of the form's schema, where it differs.
    form: str | None = None
    #: of a body that is neither JSON nor a form
    body_media_type: str | None = None
    body_required: bool = False
    body_example: Any = None
    #: Statuses beyond those that follow from the route.
    refusals: tuple[int, ...] = ()
    #: Headers that some answers have.
    headers: tuple[str, ...] = ()


def query(
    name: str, schema: Schema, description: str, *, required: bool = False, example: str | None = None
) -> Parameter:
    """A query parameter."""
    parameter: Parameter = {"name": name, "in": "query", "schema": schema, "description": description}
    if required:
        parameter["required"] = True
    if example is not None:
        parameter["example"] = example
    return parameter
