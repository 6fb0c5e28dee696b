"""The client: what a service uses to start workflows, to ask how they are, and to step in."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from backbeat.client.limits.limits import LimitCalls
from backbeat.client.search import SearchCalls
from backbeat.codecs import Codec
from backbeat.delivery.kafka import servers_of
from backbeat.payload.payload_codec import Packing
from backbeat.stores import Store
from backbeat.transport.base import Transport
from backbeat.transport.http import HttpTransport, is_http
from backbeat.transport.kafka import KafkaTransport


class Client(SearchCalls, LimitCalls):
    """Signals workflows and asks about them, as one client application. Use it as `async with Client(…) as client`.

    `address` says how it speaks: Kafka's bootstrap servers (without it the variable BACKBEAT_BOOTSTRAP_SERVERS, else
    `127.0.0.1:9092`), or a gateway's URL, `http://127.0.0.1:9292`; `transport` replaces both. `client` is the client
    application's name, over HTTP also its id; `token` its token, where the gateway asks for it. With Kafka, `gateway`
    is the URL that searches are asked of.

    `codec` and `store` are what arguments and results go through: `backbeat.codecs`, `backbeat.stores`. `timeout` is
    how long an answer is awaited, in seconds. A command without one (`Timeout`) may still be applied.

    >>> import asyncio
    >>> from backbeat.testing import Backbeat
    >>> async def sell() -> None:
    ...     async with Client(transport=Backbeat().transport()) as client:
    ...         node = await client.signal("Camera sale", "Camera 703", "Make Purchase", args=["Ann"])
    ...         print(await client.tree(node.workflow_id))
    >>> asyncio.run(sell())
    Camera sale 'Camera 703'
       |-- Make Purchase: sent_to_client
    """

    def __init__(
        self,
        address: str | None = None,
        client: str = "default",
        *,
        timeout: float = 10.0,
        gateway: str | None = None,
        token: str | None = None,
        codec: Codec | None = None,
        store: str | Store | None = None,
        transport: Transport | None = None,
    ) -> None:
        if transport is None:
            transport = _open_transport(address, client, timeout, gateway, token)
        super().__init__(client, transport, Packing(codec, store), timeout)
        #: Two starts at once are one.
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Connect; `async with` does it. Nothing where it is connected already."""
        async with self._starting:
            await self._transport.start()
            try:
                self._user_id = self._transport.user_id(self.name)
            except BaseException:
                await self.stop()
                raise

    async def stop(self) -> None:
        """Send what was published, and leave; `async with` does it."""
        self._user_id = b""
        await self._transport.stop()


def _open_transport(
    address: str | None, client: str, timeout: float, gateway: str | None, token: str | None
) -> Transport:
    address = servers_of(address)
    if is_http(address):
        return HttpTransport(address, client, token)
    searches = None if gateway is None else HttpTransport(gateway, client, token)
    return KafkaTransport(address, timeout, searches)
