"""A capsule's door: its state and its end over HTTP, for whoever has the key.

    GET /state      the state, in JSON
    POST /abort     {"by": …, "reason": …}: ends the fault

Each request is signed: `Authorization: Backbeat-Drill <seconds since the epoch>:<HMAC of method, path, time, body>`.
"""

from __future__ import annotations

import hmac
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from backbeat.compose.drill.capsule.order import SKEW_SECONDS_MAX, sign
from backbeat.compose.drill.topology.direct import open_directly
from backbeat.schemas.requests.decoding import from_json

_SCHEME = "Backbeat-Drill"
_BODY_BYTES_MAX = 64 * 1024
_ASK_SECONDS_MAX = 2.0
#: Silence of an asker after which its connection is closed.
_SILENCE_SECONDS_MAX = 10.0
_OK, _WRONG, _DENIED, _MISSING = 200, 400, 401, 404


class Abortion(msgspec.Struct, frozen=True):
    """Request to end a fault."""

    by: str
    reason: str


class Door:
    """The server of a capsule, on a free port."""

    def __init__(self, key: bytes, address: str, state: Callable[[], bytes], abort: Callable[[Abortion], None]) -> None:
        """`state` gives the state in JSON, `abort` ends the fault; each asker that knows the key is heard."""
        self._key = key
        self._state = state
        self._abort = abort
        #: monotonic seconds of the newest request with a right signature
        self.heard_at = time.monotonic()
        door = self

        class Handler(BaseHTTPRequestHandler):
            timeout = _SILENCE_SECONDS_MAX

            def do_GET(self) -> None:
                door.answer(self, "GET")

            def do_POST(self) -> None:
                door.answer(self, "POST")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Nothing: the state tells."""

        self._server = ThreadingHTTPServer((address, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{address}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, name="door", daemon=True).start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, method: str) -> None:
        """Answer a request."""
        length = _length(request.headers.get("Content-Length") or "0")
        if length is None:
            request.close_connection = True
            self._say(request, _WRONG, b'{"error":"the length of its body is wrong"}')
            return
        body = request.rfile.read(length)
        if not self._is_known(request, method, body):
            self._say(request, _DENIED, b'{"error":"the signature is wrong, or its time is"}')
            return
        self.heard_at = time.monotonic()
        if method == "GET" and request.path == "/state":
            self._say(request, _OK, self._state())
        elif method == "POST" and request.path == "/abort":
            try:
                self._abort(from_json(body, Abortion))
            except msgspec.DecodeError as error:
                self._say(request, _WRONG, msgspec.json.encode({"error": str(error)}))
                return
            self._say(request, _OK, self._state())
        else:
            self._say(request, _MISSING, b'{"error":"GET /state, POST /abort"}')

    def _is_known(self, request: BaseHTTPRequestHandler, method: str, body: bytes) -> bool:
        scheme, _, rest = (request.headers.get("Authorization") or "").partition(" ")
        moment, _, signature = rest.partition(":")
        try:
            is_recent = abs(time.time() - float(moment)) <= SKEW_SECONDS_MAX
        except ValueError:
            return False
        expected = _request_signature(self._key, method, request.path, moment, body)
        return scheme == _SCHEME and is_recent and hmac.compare_digest(signature, expected)

    @staticmethod
    def _say(request: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


def ask(key: bytes, url: str, path: str, body: Any = None) -> Any:
    """Ask a capsule: GET, or POST with a body. OSError: it does not answer, or refuses."""
    method = "GET" if body is None else "POST"
    data = b"" if body is None else msgspec.json.encode(body)
    moment = f"{time.time():.3f}"
    request = urllib.request.Request(url + path, data=data or None, method=method)  # noqa: S310 - a capsule's address
    request.add_header("Authorization", f"{_SCHEME} {moment}:{_request_signature(key, method, path, moment, data)}")
    with open_directly(request, timeout=_ASK_SECONDS_MAX) as response:
        return msgspec.json.decode(response.read())


def _length(text: str) -> int | None:
    """Bytes of a body, which is read before its signature can be checked; None: no number, or too many."""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(_BODY_BYTES_MAX)):
        return None
    return length if (length := int(text)) <= _BODY_BYTES_MAX else None


def _request_signature(key: bytes, method: str, path: str, moment: str, body: bytes) -> str:
    return sign(key, b"\n".join([method.encode(), path.encode(), moment.encode(), body]))
