"""Server-sent events as a client reads them: connections that end are opened anew, where the last one was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import aiohttp
import msgspec
import pytest
from aiohttp import web

from backbeat.delivery.changes import Change
from backbeat.errors import Unavailable
from backbeat.transport import events

CHANGE = b'{"id":"9-0","nodeId":"n","name":"a","status":"complete","before":"started","at":"2026-01-31T12:00:00Z"}'


class Gateway:
    """A server with an answer for each connection: what the stream says before it ends."""

    def __init__(self, *streams: list[bytes]) -> None:
        self.streams = list(streams)
        self.places: list[str | None] = []

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.places.append(request.headers.get("Last-Event-ID"))
        chunks = self.streams.pop(0) if self.streams else None
        if chunks is None:
            return web.Response(status=503, text="{}")

        async def stream() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        return web.Response(body=stream(), headers={"Content-Type": "text/event-stream"})


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_AGAIN_SECONDS", 0.01)


async def changes_of(gateway: Gateway, count: int) -> list[Change]:
    runner = web.ServerRunner(web.Server(gateway.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://{}:{}".format(*runner.addresses[0][:2])
    followed = []
    try:
        async with aiohttp.ClientSession() as session, aclosing(events.follow(session, url, {}, None)) as changes:
            async for change in changes:
                followed.append(change)
                if len(followed) == count:
                    break
    finally:
        await runner.cleanup()
    return followed


async def test_a_stream_that_ends_before_any_change_goes_on_from_where_it_followed():
    change = b"id: 9-0\nevent: change\ndata: " + CHANGE + b"\n\n"
    gateway = Gateway([b"retry: 1\n\n", b"id: 7\n\n"], [b": still here\n\n"], [change], [change])
    assert await changes_of(gateway, 2) == [msgspec.json.decode(CHANGE, type=Change)] * 2
    assert gateway.places == [None, "7", "7", "9-0"]


async def test_a_quiet_stream_that_breaks_after_long_is_opened_anew_and_a_gateway_that_stays_away_is_said(
    monkeypatch: pytest.MonkeyPatch,
):
    # As if the stream had been quiet for longer than a gateway may stay away.
    monkeypatch.setattr(events, "_AGAIN_SECONDS_MAX", 0.0)
    gateway = Gateway([b"id: 7\n\n"], [b"id: 8\n\n"])
    with pytest.raises(Unavailable):
        await changes_of(gateway, 1)
    assert gateway.places == [None, "7", "8"]
