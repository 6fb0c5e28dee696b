"""Bounds of one client's calls: who waits, who is refused, and that nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from backbeat.gateway.admission import Admission, ClientBounds, ClientCalls
from backbeat.gateway.http import app as gateway_app
from backbeat.gateway.http.app import Gateway
from backbeat.gateway.http.errors import Refusal
from backbeat.gateway.http.server import Server
from backbeat.gateway.metrics import GatewayCollector
from backbeat.gateway.settings import GatewaySettings
from tests.waiting import until_async

WAIT_SECONDS = 60.0


def calls_of(**bounds: Any) -> ClientCalls:
    bounds = {"calls_max": 2, "waiting_max": 2, **bounds}
    return ClientCalls("shop", ClientBounds(**{"calls_beside_max": bounds["calls_max"], **bounds}))


class Caller:
    """A caller whose call is at work until it is ended."""

    def __init__(self, calls: ClientCalls, size: int = 0) -> None:
        self.is_gone = self.is_at_work = False
        self._may_end = asyncio.Event()
        self._task = asyncio.create_task(self._run(calls, size))

    async def _run(self, calls: ClientCalls, size: int) -> None:
        async with calls.turn(size, lambda: self.is_gone):
            self.is_at_work = True
            await self._may_end.wait()

    async def end(self) -> None:
        self._may_end.set()
        await self._task

    async def refusal(self) -> Refusal:
        with pytest.raises(Refusal) as refused:
            await asyncio.wait_for(self._task, WAIT_SECONDS)
        return refused.value

    def cancel(self) -> None:
        self._task.cancel()


async def rounds() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_more_calls_wait_and_get_their_turn_in_order():
    calls = calls_of()
    first, second, third, fourth = [Caller(calls) for _ in range(4)]
    await rounds()
    assert (calls.at_work, calls.waiting) == (2, 2)
    await second.end()
    await rounds()
    assert (third.is_at_work, fourth.is_at_work) == (True, False)
    await first.end()
    await third.end()
    await fourth.end()
    assert (calls.at_work, calls.waiting, calls.refused) == (0, 0, 0)


async def test_a_call_too_many_is_refused_and_told_what_to_do():
    calls = calls_of()
    callers = [Caller(calls) for _ in range(5)]
    refusal = await callers[4].refusal()
    assert refusal.status == 429
    assert int(refusal.headers["Retry-After"]) > 0
    assert "client 'shop' has 2 calls at work" in str(refusal)
    assert "--client-calls-max" in str(refusal)
    for caller in callers[:4]:
        await caller.end()
    assert (calls.at_work, calls.waiting, calls.refused) == (0, 0, 1)


async def test_a_call_that_has_waited_too_long_is_refused():
    calls = calls_of(calls_max=1, wait_seconds_max=0.01)
    first, second = Caller(calls), Caller(calls)
    assert (await second.refusal()).status == 429
    assert calls.waiting == 0
    await first.end()
    assert calls.at_work == 0


async def test_bodies_are_bounded_together_and_one_alone_is_not():
    calls = calls_of(calls_max=10, waiting_max=10, bytes_max=100)
    large, other = Caller(calls, 500), Caller(calls, 1)
    await rounds()
    assert (large.is_at_work, other.is_at_work) == (True, False)
    await large.end()
    more = [Caller(calls, 50), Caller(calls, 49), Caller(calls, 1)]
    await rounds()
    assert [caller.is_at_work for caller in (other, *more)] == [True, True, True, False]
    for caller in (other, *more):
        await caller.end()
    assert (calls.at_work, calls.waiting) == (0, 0)


async def test_who_hangs_up_takes_no_turn_and_no_place():
    calls = calls_of(calls_max=1)
    first, gone, waiting = Caller(calls), Caller(calls), Caller(calls)
    await rounds()
    gone.is_gone = True
    late = Caller(calls)
    await rounds()
    # The place of the one that has hung up is free again.
    assert calls.waiting == 2
    assert (await gone.refusal()).status == 499
    await first.end()
    await rounds()
    assert (waiting.is_at_work, late.is_at_work) == (True, False)
    await waiting.end()
    await late.end()
    assert (calls.at_work, calls.waiting, calls.refused) == (0, 0, 0)


async def test_a_cancelled_call_leaves_its_place():
    calls = calls_of(calls_max=1)
    first, cancelled, last = Caller(calls), Caller(calls), Caller(calls)
    await rounds()
    cancelled.cancel()
    await rounds()
    assert calls.waiting == 1
    # Cancelled in the round in which its turn comes.
    ended = asyncio.create_task(first.end())
    await until_async(lambda: last.is_at_work or not calls.waiting)
    last.cancel()
    await ended
    await rounds()
    assert (calls.at_work, calls.waiting) == (0, 0)


async def test_a_client_beside_others_has_fewer_calls_at_work():
    now = 100.0
    admission = Admission(ClientBounds(calls_max=4, calls_beside_max=2), lambda: now)
    names = ("", "shop", "", "shop", "person kim", "shop", "shop")
    alone = [Caller(admission.of(name, stays=False)) for name in names]
    await rounds()
    assert [caller.is_at_work for caller in alone] == [True] * len(names)
    for caller in alone:
        await caller.end()
    flood = [Caller(admission.of("flood", stays=False)) for _ in range(6)]
    await rounds()
    now += 1.0
    assert [caller.is_at_work for caller in flood] == [True] * 2 + [False] * 4
    # A second later it is alone.
    await flood[0].end()
    await rounds()
    assert [caller.is_at_work for caller in flood] == [True] * 5 + [False]
    other = Caller(admission.of("shop", stays=False))
    await rounds()
    assert other.is_at_work
    await flood[1].end()
    await rounds()
    assert not flood[5].is_at_work
    now += 1.0
    for caller in (other, *flood[2:5]):
        await caller.end()
    await rounds()
    assert flood[5].is_at_work
    await flood[5].end()


def test_calls_that_stay_are_counted_apart():
    admission = Admission(ClientBounds(calls_max=1))
    assert admission.of("shop", stays=True) is not admission.of("shop", stays=False)
    assert admission.of("shop", stays=False) is admission.of("shop", stays=False)


# --- the gateway -----------------------------------------------------------------------------------------------------


#: Of calls that wait for nothing.
OTHER_PATH = "/workflows"


class Place:
    """A gateway whose calls are at work until they may end; clients are known by what they say."""

    def __init__(self, gateway: Gateway, url: str, session: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.session = session
        self.url = url
        self.may_end = asyncio.Event()
        self.begun: list[str] = []

    async def call(self, client: str, path: str = "/activities/x", headers: dict[str, str] | None = None) -> int:
        headers = {"Client-Id": client, **(headers or {})}
        async with self.session.get(self.url + path, headers=headers) as response:
            await response.read()
            return response.status

    def metrics(self) -> dict[tuple[str, str], float]:
        collector = GatewayCollector(
            SimpleNamespace(engine=SimpleNamespace(missing=None), deliverer=None, projection=_NO_PROJECTION),  # type: ignore[arg-type]
            self.gateway._http,
            self.gateway._admission,
        )
        samples = [sample for family in collector.collect() for sample in family.samples]
        return {(sample.name, sample.labels["client"]): sample.value for sample in samples if "client" in sample.labels}


_NO_PROJECTION = SimpleNamespace(metrics=SimpleNamespace(collect=lambda: ()))


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    async def authenticate(headers: Any, *_: Any) -> Any:
        return SimpleNamespace(name=headers["Client-Id"], id="0f6b1a52-1f0d-4f6e-8c53-6d1f0f7d2a10")

    monkeypatch.setattr(gateway_app, "authenticate", authenticate)
    settings = GatewaySettings(client_calls_max=2, client_waiting_max=1)
    gateway = Gateway(settings, SimpleNamespace(engine=None))  # type: ignore[arg-type]
    runner = web.ServerRunner(Server(gateway.answer, body_bytes_max=settings.body_bytes_max))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        place = Place(gateway, f"http://127.0.0.1:{runner.addresses[0][1]}", session)

        async def handler(call: Any) -> web.Response:
            place.begun.append(call.client.name)
            if call.client.name == "flood":
                await place.may_end.wait()
            return web.Response()

        for route in gateway_app.ROUTES:
            if route.path in {"/activities/{id}", f"{OTHER_PATH}/{{id}}"} and route.method == "GET":
                monkeypatch.setitem(route.__dict__, "handler", handler)
        yield place
        place.may_end.set()
    await runner.cleanup()


async def test_one_client_floods_and_another_is_answered(place):
    flood = [asyncio.create_task(place.call("flood")) for _ in range(4)]
    await until_async(lambda: any(task.done() for task in flood))
    assert [task.result() for task in flood if task.done()] == [429]
    assert await asyncio.wait_for(place.call("shop"), WAIT_SECONDS) == 200
    assert place.begun == ["flood", "flood", "shop"]
    metrics = place.metrics()
    assert metrics["backbeat_gateway_client_calls", "flood"] == 2
    assert metrics["backbeat_gateway_client_calls_waiting", "flood"] == 1
    assert metrics["backbeat_gateway_client_calls_refused_total", "flood"] == 1
    assert metrics["backbeat_gateway_client_calls_refused_total", "shop"] == 0
    place.may_end.set()
    assert sorted(await asyncio.gather(*flood)) == [200, 200, 200, 429]


async def test_a_wait_is_counted_apart_where_something_is_waited_for_alone(place):
    waits = {"Prefer": "wait=20"}
    calls = [asyncio.create_task(place.call("flood")) for _ in range(2)]
    await until_async(lambda: len(place.begun) == 2)
    calls.append(asyncio.create_task(place.call("flood", headers=waits)))
    await until_async(lambda: len(place.begun) == 3)
    calls.append(asyncio.create_task(place.call("flood", f"{OTHER_PATH}/x", headers=waits)))
    await until_async(lambda: place.gateway._admission.of("flood", stays=False).waiting == 1)
    assert len(place.begun) == 3
    place.may_end.set()
    assert await asyncio.gather(*calls) == [200] * 4


async def test_the_call_of_who_has_hung_up_is_never_begun(place):
    flood = [asyncio.create_task(place.call("flood")) for _ in range(2)]
    await until_async(lambda: len(place.begun) == 2)
    leaving = asyncio.create_task(place.call("flood"))
    await until_async(lambda: place.metrics()["backbeat_gateway_client_calls_waiting", "flood"] == 1)
    leaving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await leaving
    calls = place.gateway._admission.of("flood", stays=False)
    await until_async(calls._waiting[0].is_gone)
    place.may_end.set()
    assert await asyncio.gather(*flood) == [200, 200]
    await until_async(lambda: place.gateway._http.in_progress == 0)
    assert len(place.begun) == 2
