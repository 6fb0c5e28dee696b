"""A process's status for machines: `/metrics`, `/live` and `/ready`, answered by threads of its own.

They answer while the event loop hangs: that is when they matter most.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

METRICS, LIVE, READY = "/metrics", "/live", "/ready"
PATHS = (METRICS, LIVE, READY)

_TEXT = "text/plain; charset=utf-8"
_IDLE_SECONDS_MAX = 30.0
#: Interval in which the server looks whether it is to stop, where nothing wakes it.
_POLL_SECONDS = 0.5


class StatusError(Exception):
    """The status cannot be served; the text says what to do."""


class Address(NamedTuple):
    """Host and port that a status is served on; port 0 takes a free one."""

    host: str
    port: int


class Response(NamedTuple):
    """An HTTP response."""

    status: int
    content_type: str
    body: bytes


class Status:
    """Status of a process. Both functions give the reasons why it is not live or not ready; none: it is."""

    def __init__(
        self,
        registry: CollectorRegistry,
        why_not_live: Callable[[], Sequence[str]],
        why_not_ready: Callable[[], Sequence[str]],
    ) -> None:
        self._registry = registry
        self._why_not = {LIVE: why_not_live, READY: why_not_ready}

    def answer(self, path: str, accept: str = "") -> Response:
        """The response under one of the `PATHS`. Blocks as long as the metrics take."""
        if path == METRICS:
            encode, content_type = choose_encoder(accept)
            return Response(200, content_type, encode(self._registry))
        reasons = self._why_not[path]()
        lines = ["not ok" if reasons else "ok", *reasons]
        return Response(503 if reasons else 200, _TEXT, ("\n".join(lines) + "\n").encode())


class StatusServer:
    """Serves a status from `start()` to `stop()`."""

    def __init__(self, status: Status, address: Address) -> None:
        """Raises StatusError where the address cannot be used."""
        try:
            self._server = ThreadingHTTPServer((address.host, address.port), _handler(status))
        except OSError as error:
            address_text = f"{address.host}:{address.port}"
            if error.errno == errno.EADDRINUSE:
                reason = (
                    "another process listens there. What to do: name another with --status-port, or 0 for a free one"
                )
            else:
                reason = f"{error.strerror}. What to do: name an address of this machine with --status-host"
            raise StatusError(
                f"the status cannot be served on {address_text}: {reason}, or `--status-port none`"
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="status", daemon=True
        )

    @property
    def url(self) -> str:
        """The address as a URL."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering."""
        if self._thread.is_alive():
            # Wakes it; else it looks up twice a second, as it does where the system shuts no listening socket down.
            with contextlib.suppress(OSError):
                self._server.socket.shutdown(socket.SHUT_RDWR)
            self._server.shutdown()
        self._server.server_close()


def _handler(status: Status) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = _IDLE_SECONDS_MAX

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path in PATHS:
                response = status.answer(path, self.headers.get("Accept", ""))
            else:
                response = Response(404, _TEXT, f"there are {', '.join(PATHS)}\n".encode())
            self.send_response(response.status)
            self.send_header("Content-Type", response.content_type)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(response.body)

        do_HEAD = do_GET  # noqa: N815 - as above

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in http.server
            """No log: requests come every few seconds."""

    return Handler
