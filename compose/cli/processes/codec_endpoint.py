"""Endpoint that decodes payloads for browsers: it has the keys, which no gateway and no page ever has."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from backbeat.codecs import Codec
from backbeat.gateway.http.server import Server
from backbeat.payload.json_values import json_text
from backbeat.payload.payload_codec import PayloadCodec
from backbeat.schemas.requests.decoding import from_json
from backbeat.stores import Store

BODY_BYTES_MAX = 32 * 1024 * 1024
PAYLOADS_MAX = 1_000
_PREFLIGHT_SECONDS = "600"


class _Request(msgspec.Struct):
    payloads: list[Any]


class CodecEndpoint:
    """Handler of `POST /decode`."""

    def __init__(self, codec: Codec, store: str | Store | None, origins: frozenset[str], token: str | None) -> None:
        """`origins`: pages that may ask, as browsers name them; `token`: None lets whoever reaches it ask."""
        self._payloads = PayloadCodec(codec, store)
        self._origins = origins
        self._token = token

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """The answer to a request."""
        origin = request.headers.get("Origin")
        if origin is not None and origin not in self._origins:
            return _refused(403, f"{origin[:200]} may not ask here: start the endpoint with --allow-origin for it")
        response = await self._answer(request)
        response.headers["Cache-Control"] = "no-store"
        response.headers["Vary"] = "Origin"
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
        return response

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.path != "/decode":
            return _refused(404, "There is POST /decode, and nothing else")
        if request.method == "OPTIONS":
            headers = {
                "Access-Control-Allow-Methods": "POST",
                "Access-Control-Allow-Headers": "authorization, content-type",
                "Access-Control-Max-Age": _PREFLIGHT_SECONDS,
            }
            return web.Response(status=204, headers=headers)
        if request.method != "POST":
            return _refused(405, 'POST {"payloads": […]}')
        if not self._is_let_in(request.headers.get("Authorization", "")):
            return _refused(401, "The token is missing or wrong: Authorization: Bearer TOKEN")
        if request.content_type != "application/json":
            # Forms of other sites are sent without asking first.
            return _refused(415, "A body is application/json")
        try:
            asked = from_json(await request.read(), _Request)
        except (msgspec.MsgspecError, web.HTTPRequestEntityTooLarge, RecursionError) as error:
            return _refused(400, f"The body cannot be read: {error}")
        if len(asked.payloads) > PAYLOADS_MAX:
            return _refused(400, f"{len(asked.payloads)} payloads; {PAYLOADS_MAX} is the most")
        body = await asyncio.to_thread(self._decoded, asked.payloads)
        return web.Response(body=body, content_type="application/json")

    def _is_let_in(self, authorization: str) -> bool:
        if self._token is None:
            return True
        expected = f"Bearer {self._token}".encode()
        return hmac.compare_digest(expected, authorization.encode(errors="surrogateescape"))

    def _decoded(self, payloads: list[Any]) -> bytes:
        """JSON of the decoded payloads, and of the errors of those that cannot be decoded."""
        decoded: list[Any] = []
        errors: list[str | None] = []
        for payload in payloads:
            try:
                decoded.append(msgspec.Raw(json_text(self._payloads.unpack("payload", payload))))
                errors.append(None)
            except Exception as error:  # noqa: BLE001 - a codec is the user's own, and may raise anything
                decoded.append(None)
                errors.append(str(error) or type(error).__name__)
        return msgspec.json.encode({"payloads": decoded, "errors": errors})


def _refused(status: int, text: str) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode({"error": text}), content_type="application/json")


async def serve(endpoint: CodecEndpoint, host: str, port: int, ready: Callable[[], None]) -> None:
    """Listen until the task is cancelled; `ready` is called once it does. OSError."""
    runner = web.ServerRunner(Server(endpoint.answer, body_bytes_max=BODY_BYTES_MAX))
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        ready()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
