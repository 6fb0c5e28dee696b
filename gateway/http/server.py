"""aiohttp's server without a framework on top, and with the gateway's error shape for malformed HTTP."""

from __future__ import annotations

import asyncio
import logging
import ssl
from asyncio import Task
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from backbeat.gateway.http import errors, transaction_id
from backbeat.gateway.http.call import answer
from backbeat.schemas.messages.bounds import Settings

logger = logging.getLogger(__name__)

_HEADER_BYTES_MAX = 16_384
#: Longest request line: a subject of `subject_bytes_max` bytes, each as %XX, and the rest.
_LINE_BYTES_MAX = 4 * Settings().subject_bytes_max
_MESSAGE_CHARACTERS_MAX = 200
#: Time that a stopping gateway waits for its clients' bytes.
_CLIENT_SECONDS = 0.2
#: Other expectations are ignored: nothing ever met them.
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class _Protocol(RequestHandler):
    """HTTP connection."""

    __slots__ = ("awaits_body",)

    #: True while a call cannot begin, since its body has not arrived.
    awaits_body: bool

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a connection."""
        self.awaits_body = False
        super().connection_made(transport)

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """Wait for the call that is being answered; not for bytes that its client may never send.

        Those belong to a call that has not begun, or to one that was answered without them.
        """
        if self.awaits_body or not self._request_in_progress:
            timeout = _CLIENT_SECONDS
        await super().shutdown(timeout)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer malformed HTTP with a 400 in the error shape; not logged, since anybody can send it."""
        if isinstance(exc, HttpProcessingError) and status < 500:  # noqa: PLR2004 - the client's own fault
            refusal = errors.invalid(f"The request is no HTTP: {(message or exc.message)[:_MESSAGE_CHARACTERS_MAX]}")
        else:
            logger.error("a request from %s failed", request.remote, exc_info=exc)
            refusal = errors.defect()
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun: no other can be sent")
        response = answer(refusal.body, refusal.status)
        response.headers[transaction_id.HEADER] = transaction_id.choose(None)
        response.force_close()
        return response


class Server(web.Server):
    """Server with one handler for every request. No access log: a line a call would be the dearest part of a call."""

    def __init__(self, handler: Handler, *, body_bytes_max: int) -> None:
        self._body_bytes_max = body_bytes_max
        self._connection_options: dict[str, Any] = {
            "access_log": None,
            "max_field_size": _HEADER_BYTES_MAX,
            "max_line_size": _LINE_BYTES_MAX,
        }
        super().__init__(handler, request_factory=self._new_request)
        self._own_loop = asyncio.get_running_loop()

    def __call__(self) -> RequestHandler:
        """Protocol of one more connection."""
        return _Protocol(self, loop=self._own_loop, **self._connection_options)

    def _new_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: Task[None],
    ) -> web.BaseRequest:
        return web.BaseRequest(
            message, payload, protocol, writer, task, self._own_loop, client_max_size=self._body_bytes_max
        )


async def read_body(request: web.BaseRequest) -> bytes:
    """The whole body. HTTPRequestEntityTooLarge, RequestPayloadError."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        # Clients with a large body wait for this.
        await request.writer.write(_CONTINUE)
        request.writer.output_size = 0
    protocol = request.protocol
    assert isinstance(protocol, _Protocol), "the server makes its connections"
    protocol.awaits_body = True
    try:
        return await request.read()
    finally:
        protocol.awaits_body = False


class TlsError(Exception):
    """A certificate or its key cannot be used; the text says what to do."""


def tls_context(certificate_file: Path | None, key_file: Path | None) -> ssl.SSLContext | None:
    """Context of a server with this certificate; null: plain HTTP. TlsError."""
    if certificate_file is None and key_file is None:
        return None
    if certificate_file is None or key_file is None:
        raise TlsError(
            "HTTPS needs a certificate and its key. What to do: give --http-certificate-file and --http-key-file"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2

    def refuse() -> str:
        raise TlsError(
            f"{key_file} is encrypted. What to do: give a key without a password; its file's mode protects it"
        )

    try:
        context.load_cert_chain(certificate_file, key_file, refuse)
    except OSError as error:
        raise TlsError(
            f"{certificate_file} and {key_file} cannot be used: {error.strerror or error}. What to do: see that "
            "both are PEM, that this user may read them, and that the key is the certificate's"
        ) from error
    return context
