"""Engines on a Kafka of their own, without a gateway: the tests run the deliverer themselves."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
import pytest

from backbeat.compose.local.stack import Stack
from backbeat.gateway.http.presentation import node_json
from backbeat.gateway.webhooks.deliverer import Deliverer
from backbeat.schemas.kafka.client_registry import ClientRegistry, RegisteredClient
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.queries import GetHistory
from backbeat.schemas.messages.values import NewNode
from backbeat.schemas.messages.views import NodeView
from backbeat.streams.kafka.registration import add_client, change_client
from tests.gateway.webhooks.site import Site
from tests.integration.caller import Caller, node_of, result
from tests.waiting import until_async

PARTITIONS = 2


class Shop:
    """A client application with its site, somebody who asks in its name, and a deliverer."""

    def __init__(self, stack: Stack, registry: ClientRegistry, name: str) -> None:
        self.stack, self.registry, self.name = stack, registry, name
        self.kafka = stack.bootstrap_servers
        self.site = Site()
        self.client: RegisteredClient
        self.caller: Caller
        self.failures: list[BaseException] = []
        self.deliverers: list[Deliverer] = []
        self.asked: Counter[bytes] = Counter()

    def add(self, name: str | None = None, **endpoints: Any) -> RegisteredClient:
        """Add a client; the first is the one that asks."""
        return add_client(self.kafka, name or self.name, **{"partitions": PARTITIONS, **endpoints})

    async def open(self, **endpoints: Any) -> None:
        """Add the client, and begin to deliver."""
        await self.site.start()
        endpoints = {
            "decision_endpoint": self.site.url("decision"),
            "activity_endpoint": self.site.url("activity"),
            "notification_endpoint": self.site.url("notification"),
        } | endpoints
        self.client = await asyncio.to_thread(self.add, **endpoints)
        self.caller = Caller(self.kafka, self.client.id_bytes, self.stack.partitions)

    async def deliver(self, **words: Any) -> Deliverer:
        words = {"connection_error_wait_seconds": 2.0} | words
        deliverer = Deliverer(
            self.kafka,
            self.registry,
            node_body=node_json,
            find_node=self.find_node,
            load_payload=self.whole,
            fail=self.failures.append,
            **words,
        )
        await deliverer.start()
        self.deliverers.append(deliverer)
        return deliverer

    async def whole(self, text: bytes) -> bytes:
        """Nothing is kept elsewhere."""
        return text

    async def find_node(self, node_id: bytes) -> NodeView | None:
        """As a gateway asks the engine; how often is counted."""
        self.asked[node_id] += 1
        view = await self.node(node_id)
        return view if isinstance(view, NodeView) else None

    async def close(self) -> None:
        for deliverer in self.deliverers:
            await deliverer.stop()
        await self.site.stop()
        await asyncio.to_thread(self.caller.close)
        assert self.failures == []

    # --- what the client and the engine say ------------------------------------------------------------------------

    def signal(self, name: str = "start", *, runner: RegisteredClient | None = None, **more: Any) -> bytes:
        """Signal; the node's id."""
        sent = self.caller.signal(msgspec.json.encode(uuid.uuid4().hex), name, **more)
        if runner is not None:
            sent = msgspec.structs.replace(sent, node=msgspec.structs.replace(sent.node, user_id=runner.id_bytes))
        self.caller.send(sent)
        return node_of(sent)

    async def node(self, node_id: bytes) -> NodeView:
        return await asyncio.to_thread(self.caller.node, node_id)

    async def complete(self, node_id: bytes, *children: str, **words: Any) -> Any:
        """What the client says when it is through; and its children, which are activities."""
        new = tuple(NewNode(name=name, user_id=self.client.id_bytes, **words) for name in children)
        command = result(await self.node(node_id), children=new)
        return await asyncio.to_thread(self.caller.ask, command)

    async def until(self, node_id: bytes, condition: Callable[[NodeView], bool]) -> NodeView:
        """The node, once it is as wanted."""

        async def reached() -> NodeView | None:
            node = await self.node(node_id)
            return node if condition(node) else None

        node: NodeView = await until_async(reached)
        return node

    async def errors(self, node_id: bytes) -> list[str]:
        """The messages of its client errors."""
        (history,) = await asyncio.to_thread(self.caller.query, GetHistory, node_id=node_id)
        changes: tuple[StatusChange, ...] = history.changes
        return [
            msgspec.json.decode(change.response)["error"]["message"]
            for change in changes
            if change.response and b'"error"' in change.response and not change.server
        ]

    async def change(self, **endpoints: Any) -> None:
        """Change the client in the registry."""
        self.client = msgspec.structs.replace(self.client, **endpoints)
        await asyncio.to_thread(change_client, self.registry, self.client)


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """One engine and its Kafka for all tests of this folder."""
    with Stack(ephemeral=True, partitions=PARTITIONS) as running:
        yield running


@pytest.fixture(scope="package")
def registry(stack: Stack) -> Iterator[ClientRegistry]:
    with ClientRegistry(stack.bootstrap_servers) as clients:
        yield clients


@pytest.fixture
async def shop(stack: Stack, registry: ClientRegistry, unique: str) -> AsyncIterator[Shop]:
    opened = Shop(stack, registry, unique)
    await opened.open()
    yield opened
    await opened.close()
