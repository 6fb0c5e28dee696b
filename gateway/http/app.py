"""The gateway's HTTP server: from a request to the handler that answers it, and what every answer has.

A server without a framework on top: one lookup, one place that catches, one header. It is the way of every call, so
what it costs is paid some thousand times a second.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
import time
from functools import partial
from typing import NoReturn

import uvloop
from aiohttp import web

from backbeat.errors import InvalidParameters
from backbeat.gateway.api import activities
from backbeat.gateway.api.routes import ROUTES
from backbeat.gateway.api.words import check_words
from backbeat.gateway.http import errors, transaction_id
from backbeat.gateway.http.authentication import authenticate
from backbeat.gateway.http.call import LARGE_BYTES, Call, answer
from backbeat.gateway.http.parameters import Parameters
from backbeat.gateway.http.preferences import read_wishes
from backbeat.gateway.http.routing import Route, Router
from backbeat.gateway.http.server import Server, read_body
from backbeat.gateway.http.services import Services
from backbeat.gateway.metrics import HttpMetrics
from backbeat.gateway.projection import ProjectionError
from backbeat.gateway.settings import GatewaySettings
from backbeat.gateway.status import status_of
from backbeat.observe.status_server import PATHS
from backbeat.streams.engine.ports import NewerRecordError
from backbeat.streams.observe import logs, tracing
from backbeat.streams.process.termination import EXIT_INCONSISTENT_STATE, code_of, end, end_hanging
from backbeat.streams.process.watchdog import Watchdog, Watched

logger = logging.getLogger(__name__)

READY_LINE = "backbeat gateway ready"
IDEMPOTENCY_HEADER = "Idempotency-Key"

_PART = "gateway"
_FORM = "application/x-www-form-urlencoded"
#: What browsers and `curl -F` send files with. The API takes none, and read as JSON it would be called malformed.
_MULTIPART = "multipart/"
_WITH_BODY = frozenset({"POST", "PUT"})
_NOTHING = Parameters()
_LARGE_ERROR = b'{"response":{"error":{"message":"The error was larger than a request may be, and is lost"}}}'
_BACKLOG = 1024
_ROUND_SECONDS = 0.25
#: So many more objects than before, and garbage is looked for.
_GC_OBJECTS = 50_000


class Gateway:
    """Answers requests with the parts that it is given."""

    def __init__(self, settings: GatewaySettings, parts: Services) -> None:
        self._settings = settings
        self._parts = parts
        self._router = Router(ROUTES)
        self._http = HttpMetrics()
        self._status = status_of(parts, self._http)
        self._traces = tracing.is_set_up()

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """The answer to any request; whatever goes wrong has one in the error shape, too."""
        if request.raw_path in PATHS and request.method in ("GET", "HEAD"):
            return await self._own_status(request)
        began_at = time.perf_counter()
        http = self._http
        name = transaction_id.choose(request.headers.get(transaction_id.HEADER))
        transaction_id.current.set(name)
        http.in_progress += 1
        route = None
        try:
            route, path, query = self._find(request)
            answered = self._answer_traced if self._traces else self._answer
            response = await answered(request, name, route, path, query)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is logged, and answered in the error shape
            refusal = self._refusal(request, error)
            response = answer(refusal.body, refusal.status, refusal.headers)
        finally:
            http.in_progress -= 1
        http.note(route, response.status, time.perf_counter() - began_at)
        response.headers[transaction_id.HEADER] = name
        return response

    async def _own_status(self, request: web.BaseRequest) -> web.Response:
        """What machines ask: not of the API, so neither is it counted nor has it a transaction id."""
        found = await asyncio.to_thread(self._status.answer, request.raw_path, request.headers.get("Accept", ""))
        return web.Response(status=found.status, body=found.body, headers={"Content-Type": found.content_type})

    def _refusal(self, request: web.BaseRequest, error: Exception) -> errors.Refusal:
        match error:
            case errors.Refusal():
                return error
            case web.HTTPRequestEntityTooLarge():
                return errors.too_large(f"The body is larger than {self._settings.body_bytes_max} bytes")
            case web.RequestPayloadError():
                return errors.invalid(f"The body cannot be read: {error}")
            case ProjectionError():
                return errors.unavailable(str(error), "Backbeat::Unavailable")
            case _:
                logger.error("%s %s", request.method, request.raw_path, exc_info=error)
                return errors.defect()

    def _find(self, request: web.BaseRequest) -> tuple[Route, dict[str, str], str]:
        """The route, its path's parameters, and the query."""
        raw_path, _, query = request.raw_path.partition("?")
        if not raw_path.startswith("/"):
            raw_path = request.rel_url.raw_path
        return *self._router.find(request.method, raw_path), query

    async def _answer_traced(
        self, request: web.BaseRequest, name: str, route: Route, path: dict[str, str], query: str
    ) -> web.Response:
        """As `_answer`, in a span; what comes of the call is below that."""
        carried = tracing.with_traceparent(name, request.headers.get(tracing.HEADER))
        attributes = {"http.request.method": route.method, "http.route": route.path, "backbeat.tid": name}
        status = errors.defect().status
        with tracing.span(f"{route.method} {route.path}", carried, "server", attributes) as sent:
            try:
                response = await self._answer(request, sent, route, path, query)
                status = response.status
            except errors.Refusal as refusal:
                status = refusal.status
                raise
            finally:
                tracing.note({"http.response.status_code": status})
        return response

    async def _answer(
        self, request: web.BaseRequest, name: str, route: Route, path: dict[str, str], query: str
    ) -> web.Response:
        headers = request.headers
        client = await authenticate(headers, route.access, self._settings.require_auth_token, self._parts.engine)
        wishes = read_wishes(headers)
        parameters = Parameters.of_pairs(query) if query else _NOTHING
        body = b""
        if request.method in _WITH_BODY and request.body_exists:
            try:
                body = await read_body(request)
            except web.HTTPRequestEntityTooLarge:
                if route.handler is not activities.change_status or path["status"] != activities.ERRORED:
                    raise
                # Refused, it would leave its node `processing` for ever.
                body = _LARGE_ERROR
            if not route.takes_record:
                read = (
                    _read_body(request, body)
                    if len(body) < LARGE_BYTES
                    else await asyncio.to_thread(_read_body, request, body)
                )
                parameters = parameters.merged(read)
        if route.new and (query or not route.takes_record):
            check_words(route, query, b"" if route.takes_record else body, form=request.content_type == _FORM)
        if wishes.whole:
            parameters = parameters.with_keys_as_they_are()
        call = Call(
            parts=self._parts,
            route=route,
            path=path,
            client=client,
            parameters=parameters,
            tid=name,
            key=headers.get(IDEMPOTENCY_HEADER) if route.writes else None,
            headers=headers,
            query=query,
            body=body,
            wishes=wishes,
        )
        try:
            return await route.handler(call)
        finally:
            call.end()


def _read_body(request: web.BaseRequest, body: bytes) -> Parameters:
    if request.content_type == _FORM:
        try:
            return Parameters.of_pairs(body.decode())
        except UnicodeDecodeError as error:
            raise errors.invalid(f"The body is no UTF-8: {error.reason}") from error
    if request.content_type.startswith(_MULTIPART):
        raise errors.invalid(f"A body of {request.content_type} is not taken: send JSON, or a form as {_FORM}")
    # Whatever else it calls itself: clients send JSON without saying so.
    return Parameters.of_json(body)


async def serve(settings: GatewaySettings) -> None:
    """Listen, come up, and go on until SIGTERM or Ctrl-C."""
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def told() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    try:
        parts = Services(settings, fail=_fail)
    except (ProjectionError, InvalidParameters, ImportError) as error:
        end(str(error), EXIT_INCONSISTENT_STATE, part=_PART)
    watchdog = _watchdog(loop, settings.loop_timeout_seconds)
    server = Server(Gateway(settings, parts).answer, body_bytes_max=settings.body_bytes_max)
    runner = web.ServerRunner(server, shutdown_timeout=settings.stop_seconds)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.http_host, settings.http_port, backlog=_BACKLOG).start()
    except OSError as error:
        where = f"http://{settings.http_host}:{settings.http_port}"
        end(f"{where} cannot be listened on: {error.strerror}", EXIT_INCONSISTENT_STATE, part=_PART)
    starting = asyncio.create_task(_start(parts, settings))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
        await stopped
        await _drain(parts, hurry)
    finally:
        watchdog.stop()
        starting.cancel()
        parts.stopping = True
        await runner.cleanup()
        await parts.stop()


async def _drain(parts: Services, hurry: asyncio.Event) -> None:
    """Wait for requests to endpoints, whose clients go on calling here meanwhile; a second signal ends it."""
    draining, hurried = asyncio.create_task(parts.drain()), asyncio.create_task(hurry.wait())
    await asyncio.wait((draining, hurried), return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    if not draining.done():
        logger.warning("stopped a second time: requests to endpoints are given up")
        parts.give_up()
    await draining


def _watchdog(loop: asyncio.AbstractEventLoop, seconds_max: float) -> Watchdog:
    """Ends the process when its event loop does not come round: callers go to another gateway."""
    rounds = 0

    def come_round() -> None:
        nonlocal rounds
        rounds += 1
        loop.call_later(_ROUND_SECONDS, come_round)

    come_round()
    hangs = partial(end_hanging, part=_PART)
    watchdog = Watchdog([Watched("the event loop", lambda: {None: rounds}, seconds_max)], hangs)
    watchdog.start()
    return watchdog


async def _start(parts: Services, settings: GatewaySettings) -> None:
    await parts.start()
    sys.stdout.write(f"{READY_LINE}: http://{settings.http_host}:{settings.http_port}\n")
    sys.stdout.flush()


def _fail(error: BaseException) -> NoReturn:
    """End the process for what a part of it cannot go on with."""
    # What is refused is explained; anything else is a kind and a text.
    reason = str(error) if isinstance(error, NewerRecordError) else f"{type(error).__name__}: {error}"
    end(reason, code_of(error), part=_PART)


def run_gateway(settings: GatewaySettings) -> None:
    """Run one gateway in this process until it is told to stop."""
    logs.to_stderr(settings.log_format)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    # A call leaves no cycles behind: looking for some took a seventh of what a call costs.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_OBJECTS)
    uvloop.run(serve(settings))
