"""Types of the API's description."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

NUMBER_MAX = 2**31 - 1

UUID: Schema = {"type": "string", "format": "uuid"}
TIME: Schema = {"type": "string", "format": "date-time"}
TEXT: Schema = {"type": "string"}
#: Hash of a cause or a schema.
FINGERPRINT: Schema = {"type": "string", "pattern": "^[0-9a-f]{16}$"}


def ref(name: str) -> Schema:
    """Reference to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(item: Schema) -> Schema:
    """Array of these items."""
    return {"type": "array", "items": item}


def answer_object(properties: dict[str, Schema]) -> Schema:
    """Object of an answer: every key is always there, and no other."""
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def request_property(schema: Schema, description: str) -> Schema:
    """Property of a request; null counts as absent."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    nullable = {**schema, "type": [*kinds, "null"], "description": description}
    if "enum" in nullable:
        nullable["enum"] = [*nullable["enum"], None]
    return nullable
