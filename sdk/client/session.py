"""What all calls of a client have in common: who asks, through what, and what arguments and results go through."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import msgspec

from backbeat.activities.context import transaction_id
from backbeat.client.signals import change_hash
from backbeat.errors import NotFound, Unavailable
from backbeat.payload.payload_codec import Packing, is_stored
from backbeat.payload.values import Id, id_text, to_id, to_text
from backbeat.schemas.messages import commands, ids, queries
from backbeat.transport.base import NOBODY, Transport


class Session:
    """One client application and its way to an engine."""

    def __init__(self, name: str, transport: Transport, packing: Packing, timeout: float) -> None:
        #: The client application that it speaks for: its name, or over HTTP also its id.
        self.name = name
        #: How long an answer is awaited, in seconds.
        self.timeout = timeout
        self._transport = transport
        self._packing = packing
        self._user_id = b""

    def _connected(self) -> bytes:
        if not self._user_id:
            raise Unavailable("the client is not connected: use `async with Client(…) as client`")
        return self._user_id

    async def _find_user(self, name: str | None) -> bytes:
        """The id of a client application, also of one that was added a moment ago; None: the own one."""
        if name is None:
            return self._connected()
        try:
            return self._transport.user_id(name)
        except NotFound:
            await self._transport.refresh()
            return self._transport.user_id(name)

    # --- commands and queries ----------------------------------------------------------------------------------------

    def _command_id(self, key: str | None) -> bytes:
        """A key is the client application's own: the same key of another one is another command."""
        if key is None:
            return os.urandom(16)
        return ids.command_id(self._user_id, to_text("idempotency_key", key, None).encode())

    def _common(self) -> dict[str, Any]:
        """What every command carries."""
        return {"id": self._command_id(None), "user_id": self._connected(), "tid": transaction_id()}

    def _asked(self) -> dict[str, Any]:
        """What every query carries."""
        return {"reply_to": NOBODY, "deadline": 0, "user_id": self._connected(), "tid": transaction_id()}

    async def _command(self, command: commands.AnyCommand, what: str, key: str | None = None) -> Any:
        route = commands.route(command)
        assert route is not None, "a command that is sent to every partition"
        if key is not None:
            command = msgspec.structs.replace(command, id=self._command_id(key), body_hash=change_hash(command))
        return await self._transport.command(command, self.timeout, f"{what} {id_text(route)}", key=key)

    async def _ask(self, query: queries.AnyQuery, what: str, timeout: float | None = None) -> list[Any]:
        return await self._transport.query(query, self.timeout if timeout is None else timeout, what)

    async def _search(self, call: str, filters: dict[str, Any]) -> Any:
        """One page of a search; a filter that is None is not said."""
        self._connected()
        said = {name: value for name, value in filters.items() if value is not None}
        return await self._transport.search(call, said, self.timeout)

    # --- arguments and results ---------------------------------------------------------------------------------------

    async def _pack(self, what: str, value: Any) -> Any:
        if self._packing.has_store:
            return await asyncio.to_thread(self._packing.pack, what, value)
        return self._packing.pack(what, value)

    async def _unpack(self, what: str, value: Any) -> Any:
        if is_stored(value):
            return await asyncio.to_thread(self._packing.unpack, what, value)
        return self._packing.unpack(what, value)


def as_id(identity: Id | bytes) -> tuple[bytes, str]:
    """An id as the engine has it, and as text for errors."""
    found = to_id(identity)
    return found, id_text(found)
