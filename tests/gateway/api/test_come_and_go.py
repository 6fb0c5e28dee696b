"""Gateways that come and go under load, as in a deployment: no client gets a thing twice, or nothing."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from backbeat.compose.local.stack import Stack
from tests.gateway.webhooks.site import SECONDS_MAX, Site

START_SECONDS_MAX = 180.0
#: Webhooks that have not come yet, at most: some are always under way.
OPEN_MAX = 24
#: How long the client that works inside the request does so.
WORK_SECONDS = 0.3


class Client:
    """Signals one workflow after the other, and counts what comes."""

    def __init__(self, stack: Stack, session: aiohttp.ClientSession, client_id: str, site: Site, path: str) -> None:
        self._url, self._session, self._client_id = stack.http_urls[0], session, client_id
        self._site, self._path = site, path
        #: Between two workflows.
        self.pause_seconds = 0.0
        self.sent: list[str] = []
        self.going_on = True

    async def signal_on(self) -> None:
        while self.going_on:
            body = {"name": "order", "subject": uuid.uuid4().hex, "decider": "D"}
            workflow = await self.call("POST", "/workflows", body)
            node = await self.call("POST", f"/workflows/{workflow['id']}/signal", {"name": "start"})
            self.sent.append(node["id"])
            await self._site.wait_for(len(self.sent) - OPEN_MAX, self._path)
            await asyncio.sleep(self.pause_seconds)

    async def call(self, method: str, path: str, body: object = None) -> dict[str, str]:
        headers = {"Client-Id": self._client_id}
        async with self._session.request(method, self._url + path, json=body, headers=headers) as answer:
            assert answer.status in (200, 201), await answer.text()
            return await answer.json()

    async def work_inside(self, request: web.Request) -> web.Response:
        node_id = (await request.json())["activity"]["id"]
        await self.call("PUT", f"/activities/{node_id}/status/processing", {})
        await asyncio.sleep(WORK_SECONDS)
        await self.call("PUT", f"/activities/{node_id}/status/completed", {})
        return web.Response()

    def repeated(self) -> list[str]:
        came = Counter(hook.headers["X-Backbeat-Delivery"] for hook in self._site.of(self._path))
        return [delivery for delivery, count in came.items() if count > 1]

    async def all_came(self) -> None:
        await self._site.wait_for(len(self.sent), self._path)
        assert sorted(hook.node["id"] for hook in self._site.of(self._path)) == sorted(self.sent)


@pytest.fixture
async def clients(stack: Stack, new_user) -> AsyncIterator[list[Client]]:
    """One answers at once and says nothing more, the other works inside the request."""
    site = Site()
    await site.start()
    async with aiohttp.ClientSession() as session:
        made = []
        for path in ("/quick", "/inside"):
            user = await asyncio.to_thread(new_user, activity_endpoint=site.url(path[1:]))
            made.append(Client(stack, session, user.id, site, path))
        site.answers["/inside"] = made[1].work_inside
        yield made
    await site.stop()


@pytest.mark.parametrize(
    ("runs", "between", "pause_seconds"),
    [
        pytest.param(1, 15, 0.1, id="small"),
        pytest.param(30, 40, 0.0, id="whole", marks=[pytest.mark.prove, pytest.mark.timeout(0)]),
    ],
)
async def test_no_webhook_is_repeated_while_gateways_come_and_go(stack, clients, runs, between, pause_seconds):
    """`between`: webhooks that must have come between two comings and goings."""
    for client in clients:
        client.pause_seconds = pause_seconds
    signaling = [asyncio.create_task(client.signal_on()) for client in clients]

    async def have_some_come() -> None:
        """A gateway comes and goes in the middle of its work."""
        for client in clients:
            count = len(client._site.of(client._path)) + between
            await client._site.wait_for(count, client._path)

    for _ in range(runs):
        for gateway in (1, 2):
            await have_some_come()
            await asyncio.to_thread(stack.stop_gateway, gateway)
            await have_some_come()
            await asyncio.to_thread(stack.start_gateway, gateway)
            await asyncio.to_thread(stack.wait_gateway_ready, gateway, START_SECONDS_MAX)
    for client in clients:
        client.going_on = False
    async with asyncio.timeout(SECONDS_MAX):
        await asyncio.gather(*signaling)
    for client in clients:
        await client.all_came()

    repeated = [client.repeated() for client in clients]
    print(f"\n{runs} runs: {[len(client.sent) for client in clients]} webhooks, repeated {repeated}")
    assert repeated == [[], []]
