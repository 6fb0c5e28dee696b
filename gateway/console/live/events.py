"""Stream of server-sent events to one page."""

from __future__ import annotations

import asyncio
import random

import msgspec
from aiohttp import web

from backbeat.gateway.console import responses
from backbeat.gateway.console.live.hub import Stream
from backbeat.gateway.console.live.jobs import JobScope
from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.show.times import now_ms
from backbeat.gateway.console.visit import Visit
from backbeat.gateway.http.parameters import find_id
from backbeat.payload.values import id_text

#: Changes within this time are one event.
_GATHER_SECONDS = 0.25
_COMMENT_SECONDS = 15.0
#: A page that does not read for so long is told no more.
_WRITE_SECONDS_MAX = 10.0
_STREAM_SECONDS_MAX = 600.0
_RETRY_MS = 3_000
_WORKFLOWS_MAX = 8


async def live(visit: Visit) -> web.StreamResponse:
    """GET /ui/live?w={workflow}&t=figures&t=jobs&j={job}. 204: there is no room.

    Events: `nodes`, `stale`, `jobs`, `figures`, `bye`.
    """
    hub = visit.parts.hub
    # Where nobody logs in a browser is told by its name: its connections are what must not be used up.
    is_open = visit.parts.entrance.is_open
    session_id = visit.request.headers.get("User-Agent", "") if is_open else visit.who.session_id
    workflows, job_scope = await _workflows(visit), _job_scope(visit)
    if not hub.has_room(session_id):
        # An EventSource does not come back after this; the page asks by itself then.
        return web.Response(status=204)
    stream = Stream(
        workflows,
        session_id,
        wants_figures="figures" in visit.request.query.getall("t", ()),
        job_scope=job_scope,
        is_gone=lambda: visit.request.transport is None or visit.request.transport.is_closing(),
    )
    response = web.StreamResponse(headers=responses.event_headers())
    await response.prepare(visit.request)
    hub.add(stream)
    try:
        await _send(response, f"retry: {_RETRY_MS + random.randrange(_RETRY_MS)}\n\n")  # noqa: S311 - no secret
        async with asyncio.timeout(_STREAM_SECONDS_MAX):
            while not stream.is_over:
                await _tell(stream, response)
    except TimeoutError:
        # It has lasted long enough, or nobody reads it.
        pass
    except ConnectionError:
        return response
    finally:
        hub.remove(stream)
    await _end(visit.request, response)
    return response


async def _workflows(visit: Visit) -> frozenset[bytes]:
    ids = [find_id(text) for text in visit.request.query.getall("w", ())]
    if len(ids) > _WORKFLOWS_MAX:
        raise PageError(400, "Too many workflows", f"{_WORKFLOWS_MAX} are the most.")
    watched = set()
    for identity in ids:
        if identity is None:
            raise PageError(400, "This address is broken", "w is the id of a workflow.")
        watched.add((await visit.workflow(identity)).id)
    return frozenset(watched)


def _job_scope(visit: Visit) -> JobScope | None:
    """Jobs that the page shows; the visitor is told of none but their own. PageError 400."""
    if "j" in visit.query:
        job_id = find_id(visit.query["j"])
        if job_id is None:
            raise PageError(400, "This address is broken", "j is the id of a job.")
        return JobScope(visit.who, job_id)
    return JobScope(visit.who) if "jobs" in visit.request.query.getall("t", ()) else None


async def _tell(stream: Stream, response: web.StreamResponse) -> None:
    """Wait for something to tell, and tell it."""
    try:
        async with asyncio.timeout(_COMMENT_SECONDS):
            await stream.wake.wait()
    except TimeoutError:
        await _send(response, ": still here\n\n")
        return
    await asyncio.sleep(_GATHER_SECONDS)
    dirty, stale, job_ids, has_new_figures = stream.take()
    events = [_event("stale", {"workflow": id_text(workflow_id)}) for workflow_id in stale]
    events += [
        _event("nodes", {"workflow": id_text(workflow_id), "ids": [id_text(node_id) for node_id in sorted(node_ids)]})
        for workflow_id, node_ids in dirty.items()
    ]
    if job_ids:
        events.append(_event("jobs", {"ids": [id_text(job_id) for job_id in sorted(job_ids)]}))
    if has_new_figures:
        events.append(_event("figures", {}))
    if events:
        await _send(response, "".join(events))


def _event(name: str, data: dict[str, object]) -> str:
    """An event with its time: a page that has less than all until then is fetched once more."""
    return f"event: {name}\ndata: {msgspec.json.encode({**data, 'at': now_ms()}).decode()}\n\n"


async def _send(response: web.StreamResponse, text: str) -> None:
    """Send, once what was sent before has drained. TimeoutError: nobody reads it."""
    async with asyncio.timeout(_WRITE_SECONDS_MAX):
        await response.write(text.encode())


async def _end(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Say that it ends; a browser connects anew."""
    try:
        await _send(response, _event("bye", {}))
        async with asyncio.timeout(_WRITE_SECONDS_MAX):
            await response.write_eof()
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()
