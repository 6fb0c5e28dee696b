"""The client applications and the engine, as a worker's running activities reach them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol, TypeVar

from backbeat.activities.environment import EngineEnvironment
from backbeat.errors import BackbeatError
from backbeat.payload.payload_codec import PayloadCodec
from backbeat.schemas.kafka.client_registry import ClientRegistry
from backbeat.transport.base import Transport
from backbeat.transport.connecting import connect_in_thread, in_thread
from backbeat.transport.kafka import KafkaTransport, find_user, open_registry
from backbeat.transport.lazy import LazyTransport

if TYPE_CHECKING:
    from backbeat.client.client import Client

T = TypeVar("T")

#: Time that a question of a running activity has to get to Kafka.
_ASK_SECONDS = 10.0


class WorkerEnvironment(EngineEnvironment, Protocol):
    """The client applications and the engine, from `start()` to `stop()`: the worker's port of them."""

    async def start(self, client: str) -> None:
        """Read the client applications. NotFound: the worker's own is none of them."""

    async def stop(self) -> None:
        """Disconnect."""

    async def connected(self) -> Transport:
        """Transport for questions, connected when the first is asked."""


class Environment:
    """Kafka and its registry (a `WorkerEnvironment`), in the worker's event loop."""

    progress_seconds = 2.0
    answers_at_once = False

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._registry: ClientRegistry | None = None
        self._user_id, self._name = b"", ""
        self._client: Client | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._transport: KafkaTransport | None = None
        self._connecting = asyncio.Lock()

    async def start(self, client: str) -> None:
        """Read the registry of client applications. NotFound: the worker's own is none of them."""
        self._loop = asyncio.get_running_loop()
        self._registry = await connect_in_thread(lambda: open_registry(self._bootstrap_servers), ClientRegistry.stop)
        self._user_id, self._name = find_user(self._registry, client).id_bytes, client

    async def stop(self) -> None:
        """Disconnect."""
        if self._transport is not None:
            await self._transport.stop()
        if self._registry is not None:
            await in_thread(self._registry.stop)

    def now(self) -> float:
        """The host's time, in seconds since the epoch, or the broker's where that is known to be ahead."""
        return time.time() if self._transport is None else self._transport.now()

    def user_id(self, client: str | None) -> bytes:
        """The id of a client application; None: the worker's own."""
        return self._user_id if client is None else find_user(self._registry, client).id_bytes

    def ask(self, question: Callable[[Transport], Awaitable[T]]) -> Future[T]:
        """Have a question of a running activity asked in the worker's event loop. From any thread."""
        if self._loop is None:
            raise BackbeatError("the worker does not run")

        async def ask() -> T:
            return await question(await self.connected())

        return asyncio.run_coroutine_threadsafe(ask(), self._loop)

    def client(self, packing: PayloadCodec) -> Client:
        """A client of the worker's own application, over the worker's connection."""
        if self._client is None:
            # Few handlers ask for it; the rest of the SDK is an eighth of a worker's import.
            from backbeat.client.lent import lent_client  # noqa: PLC0415

            transport = LazyTransport(self.connected, self.user_id, self.now)
            self._client = lent_client(self._name, self._user_id, transport, packing)
        return self._client

    async def connected(self) -> Transport:
        """Transport for questions, connected when the first is asked."""
        async with self._connecting:
            if self._transport is None:
                transport = KafkaTransport(self._bootstrap_servers, _ASK_SECONDS)
                await transport.start()
                self._transport = transport
        return self._transport
