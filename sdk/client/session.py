"""State shared by all calls of a client: caller, transport, payload codec, timeout."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Any

import msgspec

from backbeat.activities.running import transaction_id
from backbeat.client.signals import change_hash
from backbeat.errors import InvalidParameters, NotFound, Unavailable
from backbeat.payload.payload_codec import PayloadCodec, is_stored
from backbeat.payload.values import Id, id_text, to_id, to_text
from backbeat.schemas import environment
from backbeat.schemas.messages import commands, ids, queries
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.routes import route
from backbeat.transport.base import NOBODY, Transport

_CALLED_MAX = 1_000


class Session:
    """A client application's connection to an engine. The parts of a `Client` share it; users do not see it."""

    def __init__(self, name: str, transport: Transport, packing: PayloadCodec, timeout: float) -> None:
        #: The client application that asks: its name, or over HTTP also its id; empty: none, an operator does.
        self.name = name
        #: Time limit of each answer, in seconds.
        self.timeout = timeout
        self.transport = transport
        self.packing = packing
        self._user_id: bytes | None = None
        self._is_connected = False
        self._is_lazy = False
        #: Name and subject of workflows whose ids were asked for.
        self._called: dict[bytes, str] = {}
        #: Two starts at once are one.
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Connect. Nothing where it is connected already."""
        if self._is_lazy:
            return
        environment.tell(logging.getLogger("backbeat"))
        async with self._starting:
            await self.transport.start()
            try:
                self._user_id = self.transport.user_id(self.name) if self.name else None
            except BaseException:
                await self.stop()
                raise
            self._is_connected = True

    def lend(self, user_id: bytes) -> None:
        """Be connected as this client application, by a transport that somebody else has, and starts when asked to."""
        self._user_id = user_id
        self._is_connected = self._is_lazy = True

    async def ready(self) -> None:
        """Have the transport started: for what is asked of it without waiting."""
        if self._is_lazy:
            await self.transport.start()

    async def stop(self) -> None:
        """Send what was published, and leave."""
        if self._is_lazy:
            return
        self._is_connected = False
        await self.transport.stop()

    @property
    def user_id(self) -> bytes:
        """The client application's id. Unavailable: not connected. InvalidParameters: it asks for all of them."""
        self.check_connected()
        if self._user_id is None:
            raise InvalidParameters(
                Reason.INVALID_PARAMETERS,
                "This is of one client application, and this client asks for all of them: give it one, `client=…`",
                "no client application",
                "one",
            )
        return self._user_id

    @property
    def asker_id(self) -> bytes | None:
        """The client application's id; None: an operator asks, who sees all. Unavailable: not connected."""
        self.check_connected()
        return self._user_id

    def check_connected(self) -> None:
        """Unavailable: not connected."""
        if not self._is_connected:
            raise Unavailable("the client is not connected: use `async with Client(…) as client`")

    async def users(self) -> Mapping[str, bytes]:
        """Ids of all client applications by their names, read anew."""
        self.check_connected()
        await self.transport.refresh()
        return self.transport.users()

    def remember(self, workflow_id: bytes, name: str, subject: Any) -> None:
        """Keep what a workflow is called, so that errors name it as the caller does; the oldest is forgotten."""
        self._called[workflow_id] = f"{name!r} of {subject!r}"
        if len(self._called) > _CALLED_MAX:
            del self._called[next(iter(self._called))]

    def not_found(self, workflow_id: bytes, refusal: NotFound) -> NotFound:
        """A refusal in the words by which the caller has asked for the workflow's id, if so."""
        called = self._called.get(workflow_id)
        if called is None:
            return refusal
        text = f"There is no workflow {called} (yet): nothing has signalled it as the client application {self.name!r}"
        return NotFound(refusal.reason, text, refusal.found, refusal.wanted)

    async def find_user(self, name: str | None) -> bytes:
        """The id of a client application, also of one that was added a moment ago; None: the own one."""
        if name is None:
            return self.user_id
        try:
            return self.transport.user_id(name)
        except NotFound:
            await self.transport.refresh()
            return self.transport.user_id(name)

    # --- commands and queries ----------------------------------------------------------------------------------------

    def command_id(self, key: str | None) -> bytes:
        """The id of a command: random, or made from the caller's key.

        A key is the client application's own: the same key of another one is another command.
        """
        if key is None:
            return os.urandom(16)
        return ids.command_id(self.user_id, to_text("idempotency_key", key, None).encode())

    def command_fields(self) -> dict[str, Any]:
        """Fields that every command has."""
        return {"id": self.command_id(None), "user_id": self.asker_id, "tid": transaction_id()}

    def query_fields(self) -> dict[str, Any]:
        """Fields that every query has."""
        return {"reply_to": NOBODY, "deadline": 0, "user_id": self.asker_id, "tid": transaction_id()}

    async def command(self, command: commands.AnyCommand, label: str, key: str | None = None) -> Any:
        """The engine's answer to a command; `label` names it in errors, `key` is the caller's idempotency key."""
        route_key = route(command)
        assert route_key is not None, "a command that is sent to every partition"
        if key is not None:
            command = msgspec.structs.replace(command, id=self.command_id(key), body_hash=change_hash(command))
        return await self.transport.command(command, self.timeout, f"{label} {id_text(route_key)}", key=key)

    async def query(self, query: queries.AnyQuery, label: str, timeout: float | None = None) -> list[Any]:
        """All parts of the answer to a query."""
        return await self.transport.query(query, self.timeout if timeout is None else timeout, label)

    async def search(self, call: str, filters: dict[str, Any]) -> Any:
        """A page of a search; filters that are None are left out."""
        self.check_connected()
        given = {name: value for name, value in filters.items() if value is not None}
        return await self.transport.search(call, given, self.timeout)

    # --- arguments and results ---------------------------------------------------------------------------------------

    async def pack(self, label: str, value: Any) -> Any:
        """A JSON value as it travels: through the codec, or in the store."""
        if self.packing.has_store:
            return await asyncio.to_thread(self.packing.pack, label, value)
        return self.packing.pack(label, value)

    async def unpack(self, label: str, value: Any) -> Any:
        """The JSON value that `pack` was given."""
        if is_stored(value):
            return await asyncio.to_thread(self.packing.unpack, label, value)
        return self.packing.unpack(label, value)


def as_id(identity: Id | bytes) -> tuple[bytes, str]:
    """An id as 16 bytes, and as text for errors."""
    id_bytes = to_id(identity)
    return id_bytes, id_text(id_bytes)
