"""Connection of a command to Backbeat, through the SDK's client."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.user.deeds import Deed, written_down

if TYPE_CHECKING:
    from backbeat import Client

T = TypeVar("T")

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Values of the options of `backbeat.compose.cli.options.connected` and `operating`."""

    bootstrap_servers: str
    gateway: str
    #: Client application; empty: it is about all of them.
    client: str
    token: str | None
    timeout_seconds: float
    #: True: everything goes through the gateway, not only searches.
    only_gateway: bool
    #: Person who asks, through the gateway; None: the client application does.
    person: str | None = None
    #: Reason of a change, for the audit.
    reason: str = ""
    #: Name that a change on Kafka itself is under in the audit, as it was given.
    actor: str = ""

    def change(self, deed: Deed, action: Callable[[Client], Awaitable[T]]) -> T:
        """Result of an action that changes something; see `written`."""

        async def write_and_act(client: Client) -> T:
            async with self.written(client, deed):
                return await action(client)

        return self.because(deed.reason).run(write_and_act)

    def because(self, reason: str) -> Connection:
        """This connection with the reason of a change, where it has none. SetupError: a person gives none."""
        if self.person is not None and not (self.reason or reason):
            raise SetupError(
                "a person says why, for the audit. What to do: give --reason, or --note where there is one."
            )
        return replace(self, reason=self.reason or reason)

    @asynccontextmanager
    async def written(self, client: Client, deed: Deed) -> AsyncIterator[None]:
        """Write into the audit what is done meanwhile on Kafka itself; a gateway does so for people."""
        # Standard input may have had no id: nothing is done then.
        if self.person is not None or self.only_gateway or not deed.subjects:
            yield
            return
        ids = {user.name: user.id for user in await client.users()} if self.client else {}
        deed = replace(deed, reason=deed.reason or self.reason, client_id=ids.get(self.client, ""))
        with written_down(self.bootstrap_servers, self.actor, deed):
            yield

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

        if self.person is not None:
            return Client(
                self.gateway,
                self.client or None,
                person=self.person,
                token=self.token,
                reason=self.reason,
                timeout=self.timeout_seconds,
            )
        if self.only_gateway:
            return Client(self.gateway, self.client, token=self.token, timeout=self.timeout_seconds)
        return Client(
            self.bootstrap_servers,
            self.client,
            gateway=self.gateway if self.client else None,
            token=self.token,
            timeout=self.timeout_seconds,
        )
