"""Call that follows a workflow: changes of its nodes' statuses, as server-sent events."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

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

#: Followers of a gateway at once.
FOLLOWERS_MAX = 500
#: A silent stream has a comment so often, and ends after so long: a load balancer may move the caller then.
COMMENT_SECONDS = 15.0
STREAM_SECONDS_MAX = 600.0
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
    if services.followers >= FOLLOWERS_MAX:
        raise errors.unavailable(f"{FOLLOWERS_MAX} follow workflows here already", "Backbeat::Unavailable")
    return Response(body=_stream(call, services, workflow_id, after), headers=_HEADERS)


async def _stream(call: Call, services: Services, workflow_id: bytes, after: Place | None) -> AsyncIterator[bytes]:
    services.followers += 1
    subscription = Subscription(services.changes, workflow_id, after)
    names = Names(lambda node_id: _name_of(call, node_id))
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + STREAM_SECONDS_MAX
    comment_at = loop.time() + COMMENT_SECONDS
    try:
        yield f"retry: {_RETRY_MS + random.randrange(_RETRY_MS)}\n\n".encode()  # noqa: S311 - no secret
        while not services.stopping and loop.time() < ends_at:
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    new = await subscription.take()
            except TimeoutError:
                new = []
            if new:
                yield b"".join([_event(await names.named(change)) for change in new])
            elif loop.time() >= comment_at:
                yield b": still here\n\n"
            else:
                continue
            comment_at = loop.time() + COMMENT_SECONDS
    except Unavailable as missed:
        if services.stopping:
            return  # Nothing is missed: its follower goes on where it is, at another gateway.
        yield b"event: missed\ndata: %s\n\n" % msgspec.json.encode({"message": str(missed)})
    finally:
        subscription.close()
        services.followers -= 1


def _event(change: Change) -> bytes:
    return b"id: %s\nevent: change\ndata: %s\n\n" % (change.id.encode(), msgspec.json.encode(change))


async def _name_of(call: Call, node_id: bytes) -> str:
    try:
        return (await engine_calls.get_node(call, node_id, anybodys=True)).name
    except errors.Refusal as refusal:
        if refusal.status != _NOT_FOUND:
            raise Unavailable(f"the name of node {id_text(node_id)} cannot be asked for: {refusal}") from refusal
        return ""
