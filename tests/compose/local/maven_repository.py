"""A Maven repository on loopback: a real HTTP server with ranges, which fails as it is told to."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self
from urllib.parse import urlsplit


class Request(NamedTuple):
    path: str
    range: str | None
    host: str
    authorization: str | None


class MavenRepository:
    """Files by their path, from `with` on; also a proxy, since a proxy is asked for a whole URL."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.requests: list[Request] = []
        #: So many bytes of a body, then the connection ends.
        self.break_off_after: int | None = None
        self.ignores_ranges = False
        #: Instead of the file.
        self.status = 200
        #: Nothing is answered before it is set.
        self.go_on = threading.Event()
        self.go_on.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"repository": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]


class _Handler(BaseHTTPRequestHandler):
    repository: MavenRepository
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        repository = self.repository
        path = urlsplit(self.path).path
        asked = self.headers["Range"]
        repository.requests.append(Request(path, asked, self.headers["Host"], self.headers["Authorization"]))
        assert repository.go_on.wait(120)
        body = repository.files.get(path)
        status = 404 if body is None else repository.status
        if status != 200:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        if asked and not repository.ignores_ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        self.wfile.write(body[start:][: repository.break_off_after])
        self.close_connection = repository.break_off_after is not None

    def log_message(self, *_: object) -> None:
        """Nothing: a test says what it needs."""
