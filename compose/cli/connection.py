"""Connection of a command to Backbeat, through the SDK's client."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from backbeat import Client
    from backbeat.client.session import Session

T = TypeVar("T")

_ANSWER_SECONDS_MAX = 10.0


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Values of the options of `backbeat.compose.cli.options.connected`."""

    bootstrap_servers: str
    gateway: str
    client: str
    token: str | None
    timeout_seconds: float
    #: True: everything goes through the gateway, not only searches.
    only_gateway: bool

    def run(self, action: Callable[[Client], Awaitable[T]]) -> T:
        """Result of an action, with a client that is connected while it runs."""

        async def connect() -> T:
            async with self.make_client() as client:
                return await action(client)

        # A shell that starts a command in the background has SIGINT ignored; its sender means it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return asyncio.run(connect())

    def make_client(self) -> Client:
        """The client, not connected yet."""
        from backbeat import Client

        if self.only_gateway:
            return Client(self.gateway, self.client, token=self.token, timeout=self.timeout_seconds)
        return Client(
            self.bootstrap_servers,
            self.client,
            gateway=self.gateway,
            token=self.token,
            timeout=self.timeout_seconds,
        )


def as_operator(bootstrap_servers: str, action: Callable[[Session], Awaitable[T]]) -> T:
    """Result of an action that is of no client application, but about all of them: over Kafka."""
    from backbeat.client.session import Session
    from backbeat.payload.payload_codec import PayloadCodec
    from backbeat.transport.kafka import KafkaTransport

    async def connect() -> T:
        transport = KafkaTransport(bootstrap_servers, _ANSWER_SECONDS_MAX)
        session = Session("", transport, PayloadCodec(None, None), _ANSWER_SECONDS_MAX)
        await session.start()
        try:
            return await action(session)
        finally:
            await session.stop()

    return asyncio.run(connect())
