"""Responses of the console: pages with the headers that keep browsers from doing more than showing them."""

from __future__ import annotations

import asyncio
import gzip
from urllib.parse import quote

from aiohttp import web

#: Scripts are our files alone, nothing comes from elsewhere, and there is no frame around it.
POLICY_HEADER = "Content-Security-Policy"


def policy(*origins: str) -> str:
    """The policy of pages; scripts of ours may also ask these origins."""
    asked = " ".join(("'self'", *origins))
    return (
        f"default-src 'none'; script-src 'self'; connect-src {asked}; style-src 'self'; "
        "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types backbeat"
    )


_HEADERS = {
    POLICY_HEADER: policy(),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_NOT_KEPT = {"Cache-Control": "no-store"}
#: Static files have another address when they change.
_KEPT = {"Cache-Control": "public, max-age=31536000, immutable"}
_GZIP_BYTES_MIN = 1_024
#: Larger bodies are compressed off the event loop.
_GZIP_INLINE_BYTES_MAX = 65_536
_GZIP_LEVEL = 5


async def page(request: web.BaseRequest, html: str, status: int = 200) -> web.Response:
    """An HTML page."""
    return await _response(request, html.encode(), "text/html", _NOT_KEPT, status)


async def static(request: web.BaseRequest, body: bytes, content_type: str) -> web.Response:
    """A file of the console."""
    return await _response(request, body, content_type, _KEPT)


def download(body: bytes, content_type: str, file_name: str) -> web.Response:
    """A file to be saved, never shown."""
    disposition = f"attachment; filename*=UTF-8''{quote(file_name)}"
    headers = {**_HEADERS, **_NOT_KEPT, "Content-Disposition": disposition}
    return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)


def redirect(location: str) -> web.Response:
    """Another page, by GET. The location is relative: nobody knows what a proxy puts before it."""
    return web.Response(status=303, headers={**_HEADERS, **_NOT_KEPT, "Location": location})


async def _response(
    request: web.BaseRequest, body: bytes, content_type: str, caching: dict[str, str], status: int = 200
) -> web.Response:
    headers = {**_HEADERS, **caching, "Vary": "Accept-Encoding"}
    if len(body) >= _GZIP_BYTES_MIN and "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        if len(body) <= _GZIP_INLINE_BYTES_MAX:
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        else:
            body = await asyncio.to_thread(gzip.compress, body, _GZIP_LEVEL, mtime=0)
    return web.Response(body=body, status=status, content_type=content_type, charset="utf-8", headers=headers)


def event_headers() -> dict[str, str]:
    """Headers of a stream of events."""
    return {**_HEADERS, **_NOT_KEPT, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
