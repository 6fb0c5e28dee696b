"""Streams of changes at the server: how a follower goes on that has heard of nothing, and callers that do not read."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from backbeat.delivery.change_feed import Listener
from backbeat.delivery.changes import Place
from backbeat.delivery.history_reader import Followed
from backbeat.errors import InvalidParameters
from backbeat.gateway.api import changes
from backbeat.gateway.http.call import Call
from backbeat.gateway.http.parameters import Parameters
from backbeat.gateway.http.server import Server
from backbeat.schemas.messages.history import NodeChange, StatusChange, StatusChangesRecord
from backbeat.schemas.messages.status import ServerStatus
from tests.waiting import until_async

WORKFLOW, NODE = b"w" * 16, b"n" * 16
STARTED = StatusChange(server=True, from_status=ServerStatus.READY, to_status=ServerStatus.STARTED, at=0, response=None)


class Feed:
    """A feed that is told by hand; everybody is followed from offset 7."""

    def __init__(self) -> None:
        self.listeners: set[Any] = set()

    def follow(self, listener: Listener, workflows: Mapping[bytes, int | None]) -> None:
        if workflows:
            self.listeners.add(listener)
            listener.followed({WORKFLOW: 7})
        else:
            self.listeners.discard(listener)


class Follower:
    """A server whose every call follows the workflow."""

    def __init__(self) -> None:
        self.feed = Feed()
        self.services: Any = SimpleNamespace(followers=Counter(), stopping=False, changes=self.feed)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        call = Call(
            services=self.services,
            route=cast("Any", None),
            path={},
            client=None,
            parameters=Parameters.of_pairs(""),
            tid="",
            key=None,
            headers={},
            query="",
            body=b"",
            transport=request.transport,
        )
        return web.Response(body=changes._stream(call, self.services, WORKFLOW, None))

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        runner = web.ServerRunner(Server(self.answer, body_bytes_max=1_000))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            yield reader, writer
        finally:
            self.services.stopping = True
            writer.close()
            await runner.cleanup()


async def test_a_follower_that_has_heard_of_nothing_is_told_from_where_it_follows():
    place = Follower()
    async with place.connect() as (reader, _):
        assert b"id: 7\n\n" in await asyncio.wait_for(reader.readuntil(b"id: 7\n\n"), 60)


async def test_a_caller_that_reads_nothing_is_cut_off_and_its_place_is_free(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes, "UNREAD_SECONDS_MAX", 0.5)

    async def no_name(call: Call, node_id: bytes) -> str:
        return "x" * 1_000

    monkeypatch.setattr(changes, "_name_of", no_name)
    place = Follower()
    async with place.connect():
        await until_async(lambda: bool(place.feed.listeners))
        record = StatusChangesRecord(WORKFLOW, "", (NodeChange(NODE, STARTED),) * 500)
        offset = 7
        # More than the buffers of both ends hold: sooner or later nothing more is taken.
        while place.feed.listeners and offset < 200:
            for listener in list(place.feed.listeners):
                listener.told([Followed(WORKFLOW, offset, record)])
            offset += 1
            await asyncio.sleep(0.01)
        await until_async(lambda: not place.feed.listeners)
        await until_async(lambda: place.services.followers.total() == 0)


@pytest.mark.parametrize("text", ["9" * 19, "9" * 5_000, "1-" + "9" * 5_000, "1-", "-1", "x", "", "\u0661"])
def test_what_is_no_place_of_a_change_is_refused(text):
    with pytest.raises(InvalidParameters, match="no place of a change"):
        Place.parse(text)


@pytest.mark.parametrize(("text", "place"), [("0", (0, -1)), ("17-3", (17, 3)), ("9" * 18, (10**18 - 1, -1))])
def test_a_place_is_read_as_it_is_written(text, place):
    assert Place.parse(text) == place
    assert str(Place.parse(text)) == text
