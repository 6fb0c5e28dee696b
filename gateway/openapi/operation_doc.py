"""What is said of one call in the API's description, and of one parameter of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backbeat.gateway.openapi.types import Schema

JSON = "application/json"
PLAIN = "text/plain"
HTML = "text/html"

Parameters = tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class OperationDoc:
    """What the document says of one call."""

    answer: Schema
    #: an answer
    example: Any
    text: str = ""
    status: int = 200
    media_type: str = JSON
    query: Parameters = ()
    #: the body's schema, by its name
    body: str | None = None
    #: that of a form, where it is another
    form: str | None = None
    #: of a body that is neither JSON nor a form
    body_media_type: str | None = None
    body_required: bool = False
    body_example: Any = None
    #: statuses that do not follow from the route alone
    refusals: tuple[int, ...] = ()
    #: headers that answers have sometimes
    headers: tuple[str, ...] = ()


def query(
    name: str, schema: Schema, description: str, *, required: bool = False, example: str | None = None
) -> dict[str, Any]:
    """A parameter of a query."""
    found: dict[str, Any] = {"name": name, "in": "query", "schema": schema, "description": description}
    if required:
        found["required"] = True
    if example is not None:
        found["example"] = example
    return found
