"""Server-sent events of `GET /workflows/:id/changes`, as a client reads them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from backbeat.delivery.changes import Change
from backbeat.errors import Unavailable
from backbeat.schemas.requests.decoding import from_json
from backbeat.transport.http_values import read_value, refusal

if TYPE_CHECKING:
    import aiohttp

_OK_MAX = 299
_CONNECT_SECONDS_MAX = 10.0
#: A connection without any event, not even a comment, is opened anew.
_SILENT_SECONDS_MAX = 60.0
_AGAIN_SECONDS = 0.5
#: So long after the last one has ended.
_AGAIN_SECONDS_MAX = 60.0


class MissedChangesError(Unavailable):
    """Changes were missed: those that follow would not be all."""


class Event(NamedTuple):
    """Event of a stream."""

    name: str  #: empty: it brings an id alone
    data: bytes
    id: str  #: place to go on behind; empty: as before


_OPENED = Event("", b"", "")


async def follow(
    session: aiohttp.ClientSession | None, url: str, headers: Mapping[str, str], after: str | None
) -> AsyncIterator[Change]:
    """Changes as they come. Unavailable: the gateway stays away, or some were missed; and what it refuses."""
    if session is None:
        raise Unavailable("the client is not connected: use `async with Client(…) as client`")
    ends_at = time.monotonic() + _AGAIN_SECONDS_MAX
    while True:
        place = {} if after is None else {"Last-Event-ID": after}
        is_open = False
        try:
            async for event in _events(session, url, {**headers, **place}):
                is_open = True
                after = event.id or after
                if event.name == "change":
                    yield from_json(event.data, Change)
        except Unavailable as error:
            if isinstance(error, MissedChangesError) or (not is_open and time.monotonic() > ends_at):
                raise
        if is_open:
            # It was there until now, however quiet.
            ends_at = time.monotonic() + _AGAIN_SECONDS_MAX
        await asyncio.sleep(_AGAIN_SECONDS)


async def _events(session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> AsyncIterator[Event]:
    """The events of one connection; an empty one when it is open."""
    import aiohttp  # noqa: PLC0415 - an extra: only a client over HTTP needs it

    silent = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS_MAX, sock_read=_SILENT_SECONDS_MAX)
    try:
        async with session.get(url, headers=headers, timeout=silent) as response:
            if response.status > _OK_MAX:
                raise refusal(response.status, await response.read(), "following a workflow", is_record=False)
            yield _OPENED
            async for event in events_in(response.content):
                if event.name == "missed":
                    raise MissedChangesError(read_value(event.data)["message"])
                yield event
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(f"The gateway cannot be reached at {url}: {error}") from error


async def events_in(lines: AsyncIterable[bytes]) -> AsyncIterator[Event]:
    """Events of a stream, without its comments."""
    event = _OPENED
    async for line in lines:
        text = line.rstrip(b"\r\n")
        if not text:
            if event is not _OPENED:
                yield event
            event = _OPENED
        elif text.startswith(b"event: "):
            event = event._replace(name=text[7:].decode())
        elif text.startswith(b"data: "):
            event = event._replace(data=text[6:])
        elif text.startswith(b"id: "):
            event = event._replace(id=text[4:].decode())
