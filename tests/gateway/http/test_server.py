"""The server itself: what it waits for when it stops."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from backbeat.gateway.http.server import Server, read_body

#: Longer than a test may take: whoever is waited for so long is waited for in vain.
STOP_SECONDS = 3_600.0
WAIT_SECONDS = 60.0


class Place:
    """A server with one handler, which reads its call's body if there is one and works until it may end."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.at_work = asyncio.Event()

    async def answer(self, request: web.BaseRequest) -> web.Response:
        if request.method == "POST":
            await read_body(request)
        if request.path == "/work":
            self.at_work.set()
            await self.may_end.wait()
        return web.Response(text="done")

    async def listen(self) -> web.ServerRunner:
        server = Server(self.answer, body_bytes_max=1_000)
        server._connection_options["lingering_time"] = STOP_SECONDS
        self.runner = web.ServerRunner(server, shutdown_timeout=STOP_SECONDS)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return self.runner

    async def send(self, text: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.runner.addresses[0][:2])
        writer.write(text)
        await writer.drain()
        return reader, writer


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    server = Place()
    runner = await server.listen()
    yield server
    server.may_end.set()
    await asyncio.wait_for(runner.cleanup(), WAIT_SECONDS)


HEAD = b" / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(("sent", "answered"), [
    (b"", False),
    (b"GET /", False),
    (b"GET" + HEAD, False),
    (b"GET" + HEAD + b"\r\n", True),
    (b"POST" + HEAD + b"Content-Length: 100\r\n\r\n{", False),
    # Answered without its body, which is read to its end for the sake of the next call.
    (b"GET" + HEAD + b"Content-Length: 100\r\n\r\n{", True),
], ids=["nothing", "a line", "a head", "a call", "a body", "an answered call's body"])  # fmt: skip
async def test_whoever_sends_nothing_any_more_is_not_waited_for(place: Place, sent: bytes, answered: bool) -> None:  # noqa: FBT001
    reader, writer = await place.send(sent)
    if answered:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    # Another one is answered later: by then the server has read what this one has sent.
    other_reader, other_writer = await place.send(b"GET" + HEAD + b"\r\n")
    await other_reader.readuntil(b"done")
    await asyncio.wait_for(place.runner.cleanup(), WAIT_SECONDS)
    with contextlib.suppress(ConnectionError):
        await reader.read()
    for connection in (writer, other_writer):
        connection.close()


@pytest.mark.parametrize(
    "call", [b"GET /work HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /work HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"]
)
async def test_a_call_that_is_under_way_is_answered_first(place: Place, call: bytes) -> None:
    reader, writer = await place.send(call)
    await place.at_work.wait()
    stopping = asyncio.create_task(place.runner.cleanup())
    address = place.runner.addresses[0][:2]
    # It stops once it takes no connections any more.
    with contextlib.suppress(ConnectionError):
        while True:
            _, another = await asyncio.open_connection(*address)
            another.close()
    assert not stopping.done()
    place.may_end.set()
    assert (await reader.read()).endswith(b"done")
    await asyncio.wait_for(stopping, WAIT_SECONDS)
    writer.close()
