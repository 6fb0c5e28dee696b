"""Call that follows a workflow: changes of its nodes' statuses, as server-sent events."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import msgspec
from aiohttp.web import Response

from backbeat.client.workflow_calls import Names
from backbeat.delivery.change_feed import Subscription
from backbeat.delivery.changes import Change, Place
from backbeat.errors import InvalidParameters, Unavailable
from backbeat.gateway import engine_calls
from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call
from backbeat.gateway.http.services import Services
from backbeat.payload.values import id_text

#: Followers of a gateway at once, and of one client.
FOLLOWERS_MAX = 500
CLIENT_FOLLOWERS_MAX = 100
#: A silent stream has a comment so often, and ends after so long: a load balancer may move the caller then.
COMMENT_SECONDS = 15.0
STREAM_SECONDS_MAX = 600.0
#: A caller that reads nothing for so long is cut off: its connection would stay for ever.
UNREAD_SECONDS_MAX = 60.0
_LOOK_SECONDS = 1.0
_RETRY_MS = 1_000
_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_NOT_FOUND = 404


async def changes(call: Call) -> Response:
    """GET /workflows/:id/changes: events `change`, from now on, or behind the one of `Last-Event-ID`."""
    workflow_id = call.path_id()
    await engine_calls.get_workflow(call, workflow_id)
    try:
        text = call.headers.get("Last-Event-ID") or call.parameters.text("after")
        after = None if text is None else Place.parse(text)
    except InvalidParameters as refusal:
        raise errors.invalid(refusal.message) from refusal
    services = call.services
    assert call.client is not None, "the route names a client"
    if services.followers[call.user_id] >= CLIENT_FOLLOWERS_MAX:
        raise errors.too_many(
            f"client {call.client.name!r} follows {CLIENT_FOLLOWERS_MAX} workflows at this gateway, and may not more. "
            "What to do: end one of these streams, or call another gateway"
        )
    if services.followers.total() >= FOLLOWERS_MAX:
        raise errors.unavailable(f"{FOLLOWERS_MAX} follow workflows here already", "Backbeat::Unavailable")
    return Response(body=_stream(call, services, workflow_id, after), headers=_HEADERS)


async def _stream(call: Call, services: Services, workflow_id: bytes, after: Place | None) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    services.followers[call.user_id] += 1
    try:
        async with aclosing(_chunks(call, services, workflow_id, after)) as chunks:
            async for chunk in chunks:
                cut = loop.call_later(UNREAD_SECONDS_MAX, call.hang_up)
                try:
                    yield chunk
                finally:
                    cut.cancel()
    finally:
        services.followers[call.user_id] -= 1


async def _chunks(call: Call, services: Services, workflow_id: bytes, after: Place | None) -> AsyncGenerator[bytes]:
    subscription = Subscription(services.changes, workflow_id, after)
    names = Names(lambda node_id: _name_of(call, node_id))
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + STREAM_SECONDS_MAX
    comment_at = loop.time() + COMMENT_SECONDS
    has_id = after is not None
    try:
        yield f"retry: {_RETRY_MS + random.randrange(_RETRY_MS)}\n\n".encode()  # noqa: S311 - no secret
        while not services.stopping and loop.time() < ends_at:
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    new = await subscription.take()
            except TimeoutError:
                new = []
            if new:
                try:
                    chunk = b"".join([_event(await names.named(change)) for change in new])
                except Unavailable:
                    # Nothing is missed: the caller goes on behind what it has, here or at another gateway.
                    return
                has_id = True
            elif not has_id and subscription.place is not None:
                # Whoever heard of nothing yet goes on from here, too.
                chunk, has_id = b"id: %s\n\n" % str(subscription.place).encode(), True
            elif loop.time() >= comment_at:
                chunk = b": still here\n\n"
            else:
                continue
            yield chunk
            comment_at = loop.time() + COMMENT_SECONDS
    except Unavailable as missed:
        if services.stopping:
            return  # Nothing is missed: its follower goes on where it is, at another gateway.
        yield b"event: missed\ndata: %s\n\n" % msgspec.json.encode({"message": str(missed)})
    finally:
        subscription.close()


def _event(change: Change) -> bytes:
    return b"id: %s\nevent: change\ndata: %s\n\n" % (change.id.encode(), msgspec.json.encode(change))


async def _name_of(call: Call, node_id: bytes) -> str:
    try:
        return (await engine_calls.get_node(call, node_id, anybodys=True)).name
    except errors.Refusal as refusal:
        if refusal.status != _NOT_FOUND:
            raise Unavailable(f"the name of node {id_text(node_id)} cannot be asked for: {refusal}") from refusal
        return ""
