"""Clients that run an activity inside the request, as the original's client does: it is run once, whatever happens.

A clock of seconds: the settings are a hundredth of what they are in use, and the sockets are real.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiohttp import web

from backbeat.errors import Unavailable
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.views import NodeView
from tests.gateway.webhooks.conftest import Shop
from tests.gateway.webhooks.site import Answer, Gate, status, statuses
from tests.integration.caller import result
from tests.waiting import until_async

pytestmark = pytest.mark.integration

EXHAUSTED, COMPLETE = ServerStatus.RETRIES_EXHAUSTED, ServerStatus.COMPLETE


def is_server(*accepted: ServerStatus) -> Callable[[NodeView], bool]:
    return lambda node: isinstance(node, NodeView) and node.server in accepted


class Inside:
    """Runs activities inside the request: says `processing`, works until it is let go, and says `completed`."""

    def __init__(self, shop: Shop, threads: int = 8, *, answer: Answer | None = None) -> None:
        self._shop = shop
        #: a server with so many threads has so many requests in work; the others wait in its queue
        self._threads = asyncio.Semaphore(threads)
        self._answer = answer
        self.go_on = asyncio.Event()
        self.begun: list[bytes] = []
        self.ended = 0
        self.refused: list[object] = []

    async def __call__(self, request: web.Request) -> web.Response:
        node_id = bytes.fromhex((await request.json())["decision"]["id"].replace("-", ""))
        # As a thread does: it works on when the caller hangs up.
        return await asyncio.shield(asyncio.create_task(self._run(node_id, request)))

    async def _run(self, node_id: bytes, request: web.Request) -> web.Response:
        async with self._threads:
            self.begun.append(node_id)
            await self._say(node_id, "processing", 1)
            await self.go_on.wait()
            if self._answer is not None:
                return await self._answer(request)
            await self._say(node_id, "completed", 2)
            self.ended += 1
        return web.Response()

    async def _say(self, node_id: bytes, word: str, ordinal: int) -> None:
        node = await self._shop.node(node_id)
        command = result(node, word, ordinal=ordinal)
        answer = await asyncio.to_thread(self._shop.caller.ask, command)
        if not getattr(answer, "changed", False):
            self.refused.append(answer)


async def break_off(request: web.Request) -> web.Response:
    """The connection ends without an answer."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def test_a_gateway_that_is_stopped_waits_for_what_is_under_way(shop):
    inside = shop.site.answers["/decision"] = Inside(shop)
    first = await shop.deliver()
    signals = [shop.signal(f"s{number}") for number in range(8)]
    await until_async(lambda: len(inside.begun) == 8)
    stopping = asyncio.create_task(first.stop())
    late = shop.signal("late")
    await shop.deliver()
    inside.go_on.set()
    await stopping

    for signal in (*signals, late):
        await shop.until(signal, is_server(COMPLETE))
    assert sorted(inside.begun) == sorted([*signals, late])
    assert inside.refused == []


async def test_a_gateway_is_stopped_while_no_engine_says_how_far_a_client_is(shop, monkeypatch):
    find_node, posted = shop.find_node, asyncio.Event()

    async def find_until_posted(node_id: bytes) -> NodeView | None:
        if posted.is_set():
            raise Unavailable("no engine answers")
        return await find_node(node_id)

    async def post(request: web.Request) -> web.Response:
        posted.set()
        return await break_off(request)

    monkeypatch.setattr(shop, "find_node", find_until_posted)
    shop.site.answers["/decision"] = post
    deliverer = await shop.deliver(connection_error_wait_seconds=0.3)
    shop.signal(retries=0)
    await posted.wait()
    await until_async(lambda: not deliverer._endpoints)
    assert deliverer._tasks, "it waits for what the engine says"
    await asyncio.wait_for(deliverer.stop(), 120)


async def test_what_a_killed_gateway_had_posted_is_run_once(shop):
    inside = shop.site.answers["/decision"] = Inside(shop, threads=2)
    first = await shop.deliver()
    signals = [shop.signal(f"s{number}") for number in range(2)]
    await until_async(lambda: len(inside.begun) == 2)
    for signal in signals:
        await shop.until(signal, lambda node: node.client.name == "PROCESSING")
    # As by a SIGKILL, its requests have no end.
    first.give_up()
    await first.stop()
    await shop.deliver()
    await until_async(lambda: all(shop.asked[signal] for signal in signals))
    inside.go_on.set()

    for signal in signals:
        await shop.until(signal, is_server(COMPLETE))
    assert sorted(inside.begun) == sorted(signals)
    assert inside.refused == []


async def test_a_partition_that_moves_takes_along_what_is_answered_and_what_is_under_way(shop):
    """One request holds the committed offset; what is behind it was answered by a client that says nothing yet."""
    runner = await asyncio.to_thread(
        shop.add, f"{shop.name}-wide", activity_endpoint=shop.site.url("wide"), partitions=1
    )
    gate, held = Gate(), []

    async def first_waits(request: web.Request) -> web.Response:
        held.append(request)
        return await gate(request) if len(held) == 1 else web.Response()

    shop.site.answers["/wide"] = first_waits
    first = await shop.deliver(endpoint_timeout_seconds=600.0)
    shop.signal("held", runner=runner)
    await shop.site.wait_for(1, "/wide")
    for number in range(30):
        shop.signal(f"s{number}", runner=runner)
    await shop.site.wait_for(31, "/wide")
    # Of the gateway's requests: a partition that comes back to it meanwhile has webhooks that it need not post.
    await until_async(lambda: first.metrics.tries.get(("decision", "answered"), 0) >= 30)
    # The first gateway is asked for its partitions, and goes on with its request.
    first._consumer._subscription._registry = Without(shop.registry, runner.id_bytes)
    first._consumer._subscription._version = -1
    await until_async(lambda: first._consumer._positions.get(runner.topic, 0) is None)
    await shop.deliver(endpoint_timeout_seconds=600.0)
    shop.signal("last", runner=runner)
    await shop.site.wait_for(name="last")

    assert sorted(hook.name for hook in shop.site.of("/wide")) == sorted(
        ["held", "last", *(f"s{n}" for n in range(30))]
    )
    gate.open.set()
    await until_async(lambda: first.metrics.tries["decision", "answered"] >= 31)


class Without:
    """A registry that does not know one client."""

    def __init__(self, registry, client_id: bytes) -> None:
        self._registry, self._client_id = registry, client_id
        self.version = -2

    def all(self):
        return [client for client in self._registry.all() if client.id_bytes != self._client_id]

    def by_id(self, client_id: bytes):
        return self._registry.by_id(client_id)


async def test_a_busy_endpoint_has_its_timeout_and_then_the_wait(shop):
    """One thread, and the second request waits for longer than the timeout before it is looked at."""
    inside = shop.site.answers["/decision"] = Inside(shop, threads=1)
    deliverer = await shop.deliver(endpoint_timeout_seconds=1.0, connection_error_wait_seconds=600.0)
    signals = [shop.signal(f"s{number}") for number in range(2)]
    await shop.site.wait_for(2)
    await until_async(lambda: deliverer.metrics.tries.get(("decision", "broken")) == 2)
    inside.go_on.set()

    for signal in signals:
        await shop.until(signal, is_server(COMPLETE))
        assert await shop.errors(signal) == []
    assert sorted(inside.begun) == sorted(signals)
    assert len(shop.site.hooks) == 2
    await until_async(lambda: deliverer.counts().delivered == 2)


async def test_what_is_not_complete_after_both_times_is_a_client_error(shop):
    inside = shop.site.answers["/decision"] = Inside(shop)
    await shop.deliver(endpoint_timeout_seconds=0.5, connection_error_wait_seconds=0.5)
    signal = shop.signal(retries=0)

    await shop.until(signal, is_server(EXHAUSTED))
    url = shop.client.decision_endpoint
    assert await shop.errors(signal) == [f"Could not POST {url}, error: no answer in time"]
    assert inside.begun == [signal]
    inside.go_on.set()


async def test_a_connection_that_breaks_while_the_client_works_is_not_posted_again(shop):
    inside = shop.site.answers["/decision"] = Inside(shop, answer=break_off)
    await shop.deliver(connection_error_wait_seconds=1.0)
    signal = shop.signal(retries=0)
    await until_async(lambda: inside.begun)
    inside.go_on.set()

    await shop.until(signal, is_server(EXHAUSTED))
    assert inside.begun == [signal]
    (error,) = await shop.errors(signal)
    assert error.startswith("Could not POST ")


async def test_a_connection_that_breaks_before_the_client_says_anything_is_made_again(shop):
    answers = [break_off, break_off]

    async def answer(request: web.Request) -> web.Response:
        return await answers.pop()(request) if answers else web.Response()

    shop.site.answers["/decision"] = answer
    deliverer = await shop.deliver(connection_error_wait_seconds=60.0)
    signal = shop.signal()

    hooks = await shop.site.wait_for(3)
    assert len({hook.headers["X-Backbeat-Delivery"] for hook in hooks}) == 1
    await until_async(lambda: deliverer.counts().delivered == 1)
    assert shop.asked[signal]


async def test_a_notification_that_is_slow_is_told_once(shop):
    gate = Gate()
    shop.site.answers["/decision"] = status(500)
    shop.site.answers["/notification"] = gate
    deliverer = await shop.deliver(endpoint_timeout_seconds=0.5, connection_error_wait_seconds=60.0)
    shop.signal(retries=0)
    await shop.site.wait_for(1, "/notification")
    await until_async(lambda: deliverer.metrics.settled.get(("notification", "unreachable")))
    assert deliverer.counts().delivered == 0, "the decision was refused, the notification is lost"

    shop.site.answers["/notification"] = statuses()
    shop.signal("other", retries=0)
    await shop.site.wait_for(2, "/notification")
    assert len(shop.site.of("/notification")) == 2
    gate.open.set()
