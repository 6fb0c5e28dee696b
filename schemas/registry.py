"""A schema registry, where one is configured: Confluent's client, which the extra `registry` installs."""

from __future__ import annotations

import importlib
import json
from typing import Any, Protocol

from .errors import DecodeError, RegistryError

_NOT_FOUND = 404


class SchemaRegistry(Protocol):
    """Calls of a registry."""

    def register(self, subject: str, schema_text: str) -> int:
        """The id of a schema, which is registered under the subject if it was not; RegistryError if it cannot be."""

    def schema(self, schema_id: int) -> dict[str, Any]:
        """The schema with this id; DecodeError if it is none of ours, RegistryError if the registry cannot be asked."""


def connect(url: str) -> SchemaRegistry:
    """A registry by its URL; nothing is sent yet. A user and password in the URL are used."""
    try:
        # By name, and only here: without a registry, nobody needs the client's many dependencies.
        client = importlib.import_module("confluent_kafka.schema_registry")
    except ImportError as error:
        raise RegistryError(
            f"a schema registry is configured ({url}), but its client cannot be imported ({error}). "
            "What to do: pip install 'backbeat[registry]'."
        ) from error
    return _ConfluentRegistry(client, url)


class _ConfluentRegistry:
    def __init__(self, module: Any, url: str) -> None:
        self._module = module
        self._client = module.SchemaRegistryClient({"url": url})

    def register(self, subject: str, schema_text: str) -> int:
        try:
            schema_id: int = self._client.register_schema(subject, self._module.Schema(schema_text, "AVRO"))
        except Exception as error:  # its own errors, and those of the HTTP library below it
            raise RegistryError(f"the schema registry did not take the schema of {subject}: {error}") from error
        return schema_id

    def schema(self, schema_id: int) -> dict[str, Any]:
        try:
            registered = self._client.get_schema(schema_id)
        except Exception as error:  # its own errors, and those of the HTTP library below it
            if getattr(error, "http_status_code", None) == _NOT_FOUND:
                raise DecodeError(f"the schema registry knows no schema {schema_id}") from error
            raise RegistryError(f"the schema registry did not give schema {schema_id}: {error}") from error
        try:
            schema = json.loads(registered.schema_str or "null")
        except ValueError:
            schema = None
        if not isinstance(schema, dict) or schema.get("type") != "record" or registered.references:
            raise DecodeError(f"schema {schema_id} of the registry is no Avro record that stands alone")
        return schema
