"""Server-sent events of `GET /workflows/:id/changes`, as a client reads them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from backbeat.delivery.changes import Change
from backbeat.errors import Unavailable
from backbeat.transport.http_values import read_value, refusal

if TYPE_CHECKING:
    import aiohttp

_OK_MAX = 299
_CONNECT_SECONDS_MAX = 10.0
#: A connection without any event, not even a comment, is opened anew; for so long after the newest event.
_SILENT_SECONDS_MAX = 60.0
_AGAIN_SECONDS = 0.5
_AGAIN_SECONDS_MAX = 60.0


class MissedChangesError(Unavailable):
    """Changes were missed: those that follow would not be all."""


async def follow(
    session: aiohttp.ClientSession | None, url: str, headers: Mapping[str, str], after: str | None
) -> AsyncIterator[Change]:
    """Changes as they come. Unavailable: the gateway stays away, or some were missed; and what it refuses."""
    if session is None:
        raise Unavailable("the client is not connected: use `async with Client(…) as client`")
    ends_at = time.monotonic() + _AGAIN_SECONDS_MAX
    while True:
        place = {} if after is None else {"Last-Event-ID": after}
        try:
            async for change in _changes(session, url, {**headers, **place}):
                after = change.id
                ends_at = time.monotonic() + _AGAIN_SECONDS_MAX
                yield change
        except Unavailable as error:
            if isinstance(error, MissedChangesError) or time.monotonic() > ends_at:
                raise
        await asyncio.sleep(_AGAIN_SECONDS)


async def _changes(session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> AsyncIterator[Change]:
    """The changes of one connection."""
    import aiohttp  # noqa: PLC0415 - an extra: only a client over HTTP needs it

    silent = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS_MAX, sock_read=_SILENT_SECONDS_MAX)
    try:
        async with session.get(url, headers=headers, timeout=silent) as response:
            if response.status > _OK_MAX:
                raise refusal(response.status, await response.read(), "following a workflow", is_record=False)
            async for event, data in events_in(response.content):
                if event == "change":
                    yield msgspec.json.decode(data, type=Change)
                elif event == "missed":
                    raise MissedChangesError(read_value(data)["message"])
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(f"The gateway cannot be reached at {url}: {error}") from error


async def events_in(lines: AsyncIterable[bytes]) -> AsyncIterator[tuple[str, bytes]]:
    """Name and data of each event."""
    event, data = "", b""
    async for line in lines:
        text = line.rstrip(b"\r\n")
        if not text:
            if event:
                yield event, data
            event, data = "", b""
        elif text.startswith(b"event: "):
            event = text[7:].decode()
        elif text.startswith(b"data: "):
            data = text[6:]
