"""Registry of the client applications of a Backbeat in memory."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from backbeat.schemas.kafka.clients import RegisteredClient, check_client
from backbeat.transport.kafka import unknown_user

_NAMESPACE = uuid.UUID("8a7f7b52-0f5d-5a0e-9d3e-3c1f6a2f4b10")


class MemoryRegistry:
    """Client applications by name and by id. The same name has the same id in every test."""

    def __init__(self) -> None:
        self._by_name: dict[str, RegisteredClient] = {}
        self._by_id: dict[bytes, RegisteredClient] = {}

    def add(self, name: str) -> RegisteredClient:
        """A client application of this name, served on its topic; one that is there already stays."""
        client = self._by_name.get(name)
        if client is None:
            client = RegisteredClient(id=str(uuid.uuid5(_NAMESPACE, name)), name=name)
            check_client(client)
            self._by_name[name] = self._by_id[client.id_bytes] = client
        return client

    def find(self, name: str) -> RegisteredClient:
        """The client application of this name; NotFound names those that there are."""
        client = self._by_name.get(name)
        if client is None:
            raise unknown_user(name, self._by_name)
        return client

    def by_id(self, client_id: bytes) -> RegisteredClient | None:
        """The client application with this id."""
        return self._by_id.get(client_id)

    def by_name(self, name: str) -> RegisteredClient | None:
        """The client application of this name."""
        return self._by_name.get(name)

    def topic(self, client_id: bytes) -> str | None:
        """Topic of a client application's activities; None: nobody has this id."""
        client = self._by_id.get(client_id)
        return None if client is None else client.topic

    def __iter__(self) -> Iterator[RegisteredClient]:
        return iter(self._by_name.values())
