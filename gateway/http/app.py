"""The gateway's HTTP server: routes a request to its handler, and completes every answer.

Without a framework on top: one lookup, one place for errors, one header. Every call passes here, some thousand times a
second.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import uvloop
from aiohttp import web

from backbeat.errors import InvalidParameters
from backbeat.gateway.admission import NOBODY, PERSON, Admission, ClientBounds
from backbeat.gateway.api import activities
from backbeat.gateway.api.routes import ROUTES
from backbeat.gateway.api.shapes.words import check_words
from backbeat.gateway.http import errors, transaction_id
from backbeat.gateway.http.access.authentication import authenticate
from backbeat.gateway.http.access.person import authenticate_person, carry_out, read_reason
from backbeat.gateway.http.call import LARGE_BYTES, Call, answer
from backbeat.gateway.http.parameters import Parameters
from backbeat.gateway.http.preferences import Preferences, read_preferences
from backbeat.gateway.http.routing import Access, Route, Router
from backbeat.gateway.http.server import Server, TlsError, read_body, tls_context
from backbeat.gateway.http.services import Services
from backbeat.gateway.metrics import HttpMetrics
from backbeat.gateway.people.visitor import Right
from backbeat.gateway.projection import ProjectionError
from backbeat.gateway.settings import GatewaySettings, Ui
from backbeat.gateway.status import status_of
from backbeat.observe.status_server import PATHS
from backbeat.streams.observe import logs, tracing
from backbeat.streams.ports.errors import NewerRecordError
from backbeat.streams.process.termination import EXIT_INCONSISTENT_STATE, code_of, end, end_hanging
from backbeat.streams.process.watch.watchdog import Watchdog, Watched
from backbeat.transport.http_words import PERSON_HEADER

if TYPE_CHECKING:
    from backbeat.gateway.console.console import Console

logger = logging.getLogger(__name__)

READY_LINE = "backbeat gateway ready"
IDEMPOTENCY_HEADER = "Idempotency-Key"

_PART = "gateway"
_FORM = "application/x-www-form-urlencoded"
#: Media type of files from browsers and `curl -F`. The API takes none, and as JSON it would be called malformed.
_MULTIPART = "multipart/"
#: Time after which a thread that waits for Python is let in, beside a console.
_SWITCH_SECONDS = 0.001
#: Calls that a gateway answers whose API is off: load balancers ask them.
_BESIDE_CONSOLE = ("/health", "/heartbeat.txt")
_WITH_BODY = frozenset({"POST", "PUT"})
_NOTHING = Parameters()
_LARGE_ERROR = b'{"response":{"error":{"message":"The error was larger than a request may be, and is lost"}}}'
_BACKLOG = 1024
_ROUND_SECONDS = 0.25
#: Growth in objects that starts a garbage collection.
_GC_OBJECTS = 50_000


class Gateway:
    """Handler of every request, with the services that it is given."""

    def __init__(self, settings: GatewaySettings, services: Services, console: Console | None = None) -> None:
        """`console`: handler of the pages under `/ui`; None: there are none."""
        self._console = console
        self._settings = settings
        self._services = services
        self._router = Router(ROUTES)
        self._http = HttpMetrics()
        self._admission = Admission(
            ClientBounds(
                calls_max=settings.client_calls_max,
                calls_beside_max=max(1, settings.client_calls_max // 4),
                waiting_max=settings.client_waiting_max,
                bytes_max=settings.client_bytes_max,
                wait_seconds_max=settings.answer_seconds,
            )
        )
        self._status = status_of(services, self._http, self._admission)
        self._traces = tracing.is_set_up()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to any request; errors are answered in the error shape."""
        if request.raw_path in PATHS and request.method in ("GET", "HEAD"):
            return await self._own_status(request)
        if self._console is not None and self._is_for_console(request):
            return await self._page(self._console, request)
        began_at = time.perf_counter()
        http = self._http
        tid = transaction_id.choose(request.headers.get(transaction_id.HEADER))
        transaction_id.current.set(tid)
        http.in_progress += 1
        route = None
        try:
            route, path, query = self._find(request)
            answer_route = self._answer_traced if self._traces else self._answer
            response = await answer_route(request, tid, route, path, query)
        except Exception as error:  # noqa: BLE001 - any error is logged, and answered in the error shape
            refusal = self._refusal(request, error)
            response = answer(refusal.body, refusal.status, refusal.headers)
        finally:
            http.in_progress -= 1
        http.note(route, response.status, time.perf_counter() - began_at)
        response.headers[transaction_id.HEADER] = tid
        return response

    async def _page(self, console: Console, request: web.BaseRequest) -> web.StreamResponse:
        """A page, counted by its path in the console's table."""
        began_at = time.perf_counter()
        response = await console.answer(request)
        # A stream of events lasts for as long as somebody looks: that is no duration of an answer.
        if response.content_type != "text/event-stream":
            endpoint = (f"/ui/{request.get(console.PATH, 'none')}", request.method)
            self._http.note_at(endpoint, response.status, time.perf_counter() - began_at)
        return response

    def _is_for_console(self, request: web.BaseRequest) -> bool:
        """True for a page. Traced are calls of the API alone."""
        path = request.raw_path
        if path.startswith("/ui") and path[3:4] in ("", "/", "?"):
            return True
        return path == "/" and request.method == "GET" and "text/html" in request.headers.get("Accept", "")

    async def _own_status(self, request: web.BaseRequest) -> web.Response:
        """Answer /metrics, /live, /ready: outside the API, so neither counted nor with a transaction id."""
        status = await asyncio.to_thread(self._status.answer, request.raw_path, request.headers.get("Accept", ""))
        return web.Response(status=status.status, body=status.body, headers={"Content-Type": status.content_type})

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
        if self._settings.ui is Ui.ONLY and raw_path not in _BESIDE_CONSOLE:
            raise errors.not_found("This gateway serves the console alone (--ui only): call another one")
        return *self._router.find(request.method, raw_path), query

    async def _answer_traced(
        self, request: web.BaseRequest, tid: str, route: Route, path: dict[str, str], query: str
    ) -> web.Response:
        """`_answer` in a span; spans of the call's effects are its children."""
        parent_tid = tracing.with_traceparent(tid, request.headers.get(tracing.HEADER))
        attributes = {"http.request.method": route.method, "http.route": route.path, "backbeat.tid": tid}
        status = errors.defect().status
        with tracing.span(f"{route.method} {route.path}", parent_tid, "server", attributes) as span_tid:
            try:
                response = await self._answer(request, span_tid, route, path, query)
                status = response.status
            except errors.Refusal as refusal:
                status = refusal.status
                raise
            finally:
                tracing.note({"http.response.status_code": status})
        return response

    async def _answer(
        self, request: web.BaseRequest, tid: str, route: Route, path: dict[str, str], query: str
    ) -> web.Response:
        headers = request.headers
        person, reason = None, ""
        if PERSON_HEADER in headers and route.access is not Access.PUBLIC:
            person, client = await authenticate_person(request, route, self._services)
            if route.person is Right.ACT:
                reason = read_reason(headers)
        else:
            client = await authenticate(headers, route.access, self._settings.require_auth_token, self._services.engine)
        preferences = read_preferences(headers)
        name = NOBODY if client is None else client.name
        if person is not None:
            # Apart from the calls of the client that it is about, which may be what is wrong.
            name = f"{PERSON}{person.name}"
        async with self._turn(request, route, name, preferences):
            parameters, body = await self._read_parameters(request, route, path, query)
            if preferences.whole:
                parameters = parameters.with_keys_as_they_are()
            call = Call(
                services=self._services,
                route=route,
                path=path,
                client=client,
                parameters=parameters,
                tid=tid,
                key=headers.get(IDEMPOTENCY_HEADER) if route.writes else None,
                headers=headers,
                query=query,
                body=body,
                preferences=preferences,
                transport=request.transport,
                person=person,
            )
            try:
                if reason:
                    return await carry_out(call, request.remote or "", reason, route.handler)
                return await route.handler(call)
            finally:
                call.end()

    def _turn(
        self, request: web.BaseRequest, route: Route, name: str, preferences: Preferences
    ) -> AbstractAsyncContextManager[None]:
        """The call's turn among those of the same caller; its body is not read before."""
        if route.access is Access.PUBLIC:
            return nullcontext()
        size = 0
        if request.body_exists:
            # Where the length is not said it may be the most.
            length = request.content_length
            size = self._settings.body_bytes_max if length is None else min(length, self._settings.body_bytes_max)
        calls = self._admission.of(name, stays=route.waits and preferences.wait_seconds > 0)
        return calls.turn(size, lambda: request.transport is None or request.transport.is_closing())

    async def _read_parameters(
        self, request: web.BaseRequest, route: Route, path: dict[str, str], query: str
    ) -> tuple[Parameters, bytes]:
        """The parameters of query and body, and the body."""
        parameters = Parameters.of_pairs(query) if query else _NOTHING
        body = b""
        if request.method in _WITH_BODY and request.body_exists:
            try:
                body = await read_body(request)
            except web.HTTPRequestEntityTooLarge:
                if route.handler is not activities.change_status or path["status"] != activities.ERRORED:
                    raise
                # A refused error would leave its node `processing` for ever.
                body = _LARGE_ERROR
            if not route.takes_record:
                body_parameters = (
                    _read_body(request, body)
                    if len(body) < LARGE_BYTES
                    else await asyncio.to_thread(_read_body, request, body)
                )
                parameters = parameters.merged(body_parameters)
        if route.new and (query or not route.takes_record):
            check_words(route, query, b"" if route.takes_record else body, form=request.content_type == _FORM)
        return parameters, body


def _read_body(request: web.BaseRequest, body: bytes) -> Parameters:
    if request.content_type == _FORM:
        try:
            return Parameters.of_pairs(body.decode())
        except UnicodeDecodeError as error:
            raise errors.invalid(f"The body is no UTF-8: {error.reason}") from error
    if request.content_type.startswith(_MULTIPART):
        raise errors.invalid(f"A body of {request.content_type} is not taken: send JSON, or a form as {_FORM}")
    # Any other media type is read as JSON: clients send it without saying so.
    return Parameters.of_json(body)


async def serve(settings: GatewaySettings) -> None:
    """Listen, connect, and run until SIGTERM or Ctrl-C."""
    stop, second_stop = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        (second_stop if stop.is_set() else stop).set()

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, on_signal)
    try:
        context = tls_context(settings.http_certificate_file, settings.http_key_file)
        services = Services(settings, fail=_fail)
        console = _open_console(settings, services)
    except (ProjectionError, TlsError, InvalidParameters, ImportError, OSError) as error:
        end(str(error), EXIT_INCONSISTENT_STATE, part=_PART)
    watchdog = _watchdog(loop, settings.loop_timeout_seconds)
    server = Server(Gateway(settings, services, console).answer, body_bytes_max=settings.body_bytes_max)
    runner = web.ServerRunner(server, shutdown_timeout=settings.stop_seconds)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.http_host, settings.http_port, backlog=_BACKLOG, ssl_context=context)
        await site.start()
    except OSError as error:
        end(f"{settings.address} cannot be listened on: {error.strerror}", EXIT_INCONSISTENT_STATE, part=_PART)
    starting = asyncio.create_task(_start(services, settings, console))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
        await stopped
        await _drain(services, second_stop)
    finally:
        watchdog.stop()
        starting.cancel()
        services.stopping = True
        await runner.cleanup()
        if console is not None:
            await console.stop()
        await services.stop()


def _open_console(settings: GatewaySettings, services: Services) -> Console | None:
    if settings.ui is Ui.OFF:
        return None
    # Jinja takes a tenth of a second to import.
    from backbeat.gateway.console.console import Console  # noqa: PLC0415

    # Pages are made in threads, and at each turn of the loop a call would wait for one of them, 5 ms as Python has it.
    sys.setswitchinterval(_SWITCH_SECONDS)
    return Console(settings, services)


async def _drain(services: Services, second_stop: asyncio.Event) -> None:
    """Wait for requests to endpoints, whose clients go on calling here meanwhile; a second signal ends the wait."""
    draining, stopped_again = asyncio.create_task(services.drain()), asyncio.create_task(second_stop.wait())
    await asyncio.wait((draining, stopped_again), return_when=asyncio.FIRST_COMPLETED)
    stopped_again.cancel()
    if not draining.done():
        logger.warning("stopped a second time: requests to endpoints are given up")
        services.give_up()
    await draining


def _watchdog(loop: asyncio.AbstractEventLoop, seconds_max: float) -> Watchdog:
    """Watchdog that ends the process when its event loop hangs: callers go to another gateway."""
    rounds = 0

    def tick() -> None:
        nonlocal rounds
        rounds += 1
        loop.call_later(_ROUND_SECONDS, tick)

    tick()
    end_process = partial(end_hanging, part=_PART)
    watchdog = Watchdog([Watched("the event loop", lambda: {None: rounds}, seconds_max)], end_process)
    watchdog.start()
    return watchdog


async def _start(services: Services, settings: GatewaySettings, console: Console | None) -> None:
    await services.start()
    if console is not None:
        await console.start()
    sys.stdout.write(f"{READY_LINE}: {settings.address}\n")
    sys.stdout.flush()


def _fail(error: BaseException) -> NoReturn:
    """End the process after a fatal error of a service."""
    # A refusal explains itself; any other error is shown as type and text.
    reason = str(error) if isinstance(error, NewerRecordError) else f"{type(error).__name__}: {error}"
    end(reason, code_of(error), part=_PART)


def run_gateway(settings: GatewaySettings) -> None:
    """Run one gateway in this process until it is told to stop."""
    logs.to_stderr(settings.log_format)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    # Calls leave no reference cycles: looking for some took a seventh of a call's cost.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_OBJECTS)
    uvloop.run(serve(settings))
