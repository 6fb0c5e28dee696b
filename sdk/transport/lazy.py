"""A worker's own way to the engine, for the client of its handlers: connected when it is first used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from backbeat.errors import Unavailable
from backbeat.schemas.messages.commands import AnyCommand, Signal
from backbeat.schemas.messages.queries import AnyQuery
from backbeat.transport.base import Transport

if TYPE_CHECKING:
    from backbeat.delivery.changes import Change


class LazyTransport:
    """Passes on to the transport that `connect` gives, which belongs to somebody else: nothing here ends it.

    `user_id` and `now` are known before; the other calls that wait for nothing want `start` first.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Transport]],
        user_id: Callable[[str], bytes],
        now: Callable[[], float],
    ) -> None:
        self._connect = connect
        self._connected: Transport | None = None
        self.user_id = user_id
        self.now = now

    async def start(self) -> None:
        """Connect; nothing when it is connected. Unavailable."""
        if self._connected is None:
            self._connected = await self._connect()

    async def stop(self) -> None:
        """Nothing: others use it."""

    @property
    def _transport(self) -> Transport:
        if self._connected is None:
            raise Unavailable("the worker's client is not connected: await one of its calls first")
        return self._connected

    async def _ready(self) -> Transport:
        await self.start()
        return self._transport

    @property
    def partitions(self) -> int:
        """Number of answers to a query that goes to every partition."""
        return self._transport.partitions

    def users(self) -> Mapping[str, bytes]:
        """Ids of the known client applications by name."""
        return self._transport.users()

    async def refresh(self) -> None:
        """Reload the client applications."""
        await (await self._ready()).refresh()

    async def command(self, command: AnyCommand, timeout: float, operation: str, *, key: str | None = None) -> Any:
        """Send a command and give the core's answer."""
        return await (await self._ready()).command(command, timeout, operation, key=key)

    async def query(self, query: AnyQuery, timeout: float, operation: str) -> list[Any]:
        """Ask, and give all parts of the answer."""
        return await (await self._ready()).query(query, timeout, operation)

    def publish(self, command: Signal, *, key: str | None = None) -> bytes:
        """Send a signal without awaiting its answer."""
        return self._transport.publish(command, key=key)

    def under_way(self) -> int:
        """Number of published signals that have not been acknowledged."""
        return self._transport.under_way()

    async def flush(self, timeout: float) -> None:
        """Wait until all published signals are acknowledged."""
        await (await self._ready()).flush(timeout)

    async def follow(self, workflow_id: bytes, after: str | None) -> AsyncIterator[Change]:
        """The changes of a workflow as they come."""
        async for change in (await self._ready()).follow(workflow_id, after):
            yield change

    async def search(self, call: str, filters: Mapping[str, Any], timeout: float) -> Any:
        """A page of a gateway's search."""
        return await (await self._ready()).search(call, filters, timeout)
