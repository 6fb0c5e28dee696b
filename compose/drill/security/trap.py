"""Trap: an HTTP server on loopback, where no webhook may come unless its network is named; it notes whatever comes."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from backbeat.compose.local.ports import LOOPBACK

#: Where whoever posts is sent on to, and nobody may follow.
ELSEWHERE = "/elsewhere"


class Trap:
    """HTTP server that notes who posts to it, and redirects; from `start()` to `stop()`, or `with`."""

    def __init__(self) -> None:
        #: paths that were asked for, in their order
        self.paths: list[str] = []
        paths = self.paths

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                paths.append(self.path)
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                self.send_response(307)
                self.send_header("Location", ELSEWHERE)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST  # noqa: N815 - as above

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="trap", daemon=True)

    @property
    def port(self) -> int:
        """Port on which it listens, from the beginning."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
