"""A client's way to the engine over Kafka: commands and queries as records, client applications from the registry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from backbeat.errors import NotFound, Unavailable
from backbeat.payload.values import to_id
from backbeat.schemas.codec import encode_command
from backbeat.schemas.kafka.brokers import UnreachableError
from backbeat.schemas.kafka.client_registry import ClientRegistry, ClientRegistryError, RegisteredClient
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import AnyCommand, CreateWorkflow, Signal
from backbeat.schemas.messages.queries import ALL_PARTITIONS, AnyQuery
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.values import ReplyTo
from backbeat.schemas.routes import route
from backbeat.transport.base import Transport, every_answer, to_every_partition, written
from backbeat.transport.connecting import Home, connect_in_thread, in_thread
from backbeat.transport.requests import RequestClient

if TYPE_CHECKING:
    from backbeat.delivery.change_feed import ChangeFeed
    from backbeat.delivery.changes import Change


class KafkaTransport:
    """Transport through the topics of a Kafka."""

    def __init__(self, bootstrap_servers: str, send_seconds_max: float, searches: Transport | None = None) -> None:
        """`searches`: transport of the searches, started at the first one; null: the client cannot search."""
        self._bootstrap_servers = bootstrap_servers
        self._requests = RequestClient(bootstrap_servers, send_seconds_max)
        self._registry: ClientRegistry | None = None
        self._searches = searches
        self._feed: ChangeFeed | None = None
        self._search_lock = asyncio.Lock()
        self._searches_started = False
        self._home: Home

    async def start(self) -> None:
        """Connect; nothing when it is connected."""
        if self._registry is not None and not self._home.is_inherited:
            self._home.check()
            return
        self._home = Home()
        self._registry = await connect_in_thread(lambda: open_registry(self._bootstrap_servers), ClientRegistry.stop)
        try:
            await self._requests.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Send published signals, and disconnect. Nothing in a forked process: the connections are the parent's."""
        if self._registry is not None and self._home.is_inherited:
            return
        await self._requests.stop()
        if self._feed is not None:
            await self._feed.stop()
            self._feed = None
        if self._searches is not None and self._searches_started:
            self._searches_started = False
            await self._searches.stop()
        if self._registry is not None:
            await in_thread(self._registry.stop)
            self._registry = None

    def now(self) -> float:
        """The host's time, or the broker's where the host's is behind."""
        return self._requests.now()

    @property
    def partitions(self) -> int:
        """Number of partitions that commands have."""
        return self._requests.partitions

    def user_id(self, client: str) -> bytes:
        """The id of a client application by its name."""
        return find_user(self._registry, client).id_bytes

    def users(self) -> Mapping[str, bytes]:
        """The ids of all client applications by their names."""
        if self._registry is None:
            raise Unavailable("the client is not connected: use `async with Client(…) as client`")
        self._home.check()
        return {client.name: to_id(client.id) for client in self._registry.all()}

    async def refresh(self) -> None:
        """Nothing: the registry is followed all the time."""

    async def command(self, command: AnyCommand, timeout: float, operation: str, *, key: str | None = None) -> Any:
        """Send a command and await its answer; `key` is in the command's id already."""
        del key

        async def send(route_key: bytes) -> Any:
            return await self._requests.command(
                lambda reply_to: written(encode_command, msgspec.structs.replace(command, reply_to=reply_to)),
                route_key,
                _record_key(command, route_key),
                timeout,
                operation,
            )

        route_key = route(command)
        if route_key is None:
            return await to_every_partition(range(self.partitions), send)
        return await send(route_key)

    async def query(self, query: AnyQuery, timeout: float, operation: str) -> list[Any]:
        """Send a query and await all parts of its answer; with ALL_PARTITIONS, of every partition."""
        if getattr(query, "partition", None) == ALL_PARTITIONS:
            queries = [msgspec.structs.replace(query, partition=number) for number in range(self.partitions)]
            answers = await every_answer(self.query(part, timeout, operation) for part in queries)
            return [part for answer in answers for part in answer]

        def addressed(reply_to: ReplyTo, deadline: int) -> AnyQuery:
            return msgspec.structs.replace(query, reply_to=reply_to, deadline=query.deadline or deadline)

        return await self._requests.query(addressed, timeout, operation)

    def publish(self, command: Signal, *, key: str | None = None) -> bytes:
        """Send a signal without waiting."""
        del key
        route_key = command.workflow_id
        self._requests.publish(written(encode_command, command), route_key, _record_key(command, route_key))
        return ids.node_id(command.workflow_id, command.id, 0)

    def under_way(self) -> int:
        """Number of records that Kafka has not acknowledged."""
        return self._requests.under_way()

    async def flush(self, timeout: float) -> None:
        """Wait until Kafka has acknowledged all published signals."""
        await self._requests.flush(timeout)

    async def follow(self, workflow_id: bytes, after: str | None) -> AsyncIterator[Change]:
        """The changes of a workflow, from the history topic."""
        # Few clients follow anything.
        from backbeat.delivery.change_feed import ChangeFeed, Subscription  # noqa: PLC0415
        from backbeat.delivery.changes import Place  # noqa: PLC0415

        place = None if after is None else Place.parse(after)
        if self._feed is None:
            self._feed = ChangeFeed(self._bootstrap_servers)
        subscription = Subscription(self._feed, workflow_id, place)
        try:
            while True:
                for change in await subscription.take():
                    yield change
        finally:
            subscription.close()

    async def search(self, call: str, filters: Mapping[str, Any], timeout: float) -> Any:
        """A page of a search, by the gateway's transport. Unavailable: the client has none."""
        if self._searches is None:
            raise Unavailable(
                f"A search of {call} is answered by a gateway, and this client knows none: give it one, "
                'Client(…, gateway="http://127.0.0.1:9292")'
            )
        async with self._search_lock:
            self._home.check()
            if not self._searches_started:
                await self._searches.start()
                self._searches_started = True
        return await self._searches.search(call, filters, timeout)


def _record_key(command: AnyCommand, route_key: bytes) -> bytes:
    """The record's key in the topic: the subject where it is known, for readers of the topic."""
    match command:
        case CreateWorkflow(workflow=workflow):
            return workflow.subject
        case Signal(workflow=workflow) if workflow is not None:
            return workflow.subject
        case _:
            return route_key


def open_registry(bootstrap_servers: str) -> ClientRegistry:
    """The registry of clients, read and followed."""
    try:
        return ClientRegistry(bootstrap_servers).start()
    except (ClientRegistryError, UnreachableError) as error:
        raise Unavailable(str(error)) from error


def find_user(registry: ClientRegistry | None, name: str) -> RegisteredClient:
    """A client application by its name."""
    if registry is None:
        raise Unavailable("the client is not connected: use `async with Client(…) as client`")
    if registry.failure is not None:
        raise Unavailable(f"the registry of clients is followed no more: {registry.failure}")
    client = registry.by_name(name)
    if client is None:
        raise unknown_user(name, (client.name for client in registry.all()))
    return client


def unknown_user(name: str, known_names: Iterable[str]) -> NotFound:
    """The error for a name that no client application has; `known_names` are the names that there are."""
    names = ", ".join(known_names) or "none"
    return NotFound(
        Reason.NOT_FOUND,
        f"There is no client {name!r} (known: {names}). What to do: add it with `backbeat user add {name}`",
        "nothing",
        "a client",
    )
