"""The words in which the API's description says what a value is."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

NUMBER_MAX = 2**31 - 1

UUID: Schema = {"type": "string", "format": "uuid"}
TIME: Schema = {"type": "string", "format": "date-time"}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}


def ref(name: str) -> Schema:
    """A reference to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(item: Schema) -> Schema:
    """An array of these."""
    return {"type": "array", "items": item}


def given(properties: dict[str, Schema], description: str = "") -> Schema:
    """An object that is answered: every key is always there, and no other."""
    found: Schema = {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }
    return {**found, "description": description} if description else found


def said(schema: Schema, description: str) -> Schema:
    """A property of a request, which may be null: that is as absent."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    found = {**schema, "type": [*kinds, "null"], "description": description}
    if "enum" in found:
        found["enum"] = [*found["enum"], None]
    return found


def or_null(schema: Schema) -> Schema:
    """The same, or null."""
    return {**schema, "type": [schema["type"], "null"]}


# --- answers ---------------------------------------------------------------------------------------------------------
