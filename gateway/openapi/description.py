"""Handlers of the API's description: GET /openapi.json and GET /docs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from importlib import metadata
from typing import Any

import msgspec
from aiohttp.web import Response

from backbeat.gateway.http.call import Call
from backbeat.gateway.http.routing import Route
from backbeat.gateway.openapi import document
from backbeat.gateway.openapi.pages import page

#: The page is self-contained and may load nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


class Description:
    """Description of a table of routes that contains the description's own. Made on the first request."""

    def __init__(self, routes: Callable[[], Iterable[Route]]) -> None:
        self._routes = routes

    async def openapi(self, _call: Call) -> Response:
        """GET /openapi.json."""
        return Response(body=self._json, content_type="application/json")

    async def docs(self, _call: Call) -> Response:
        """GET /docs."""
        headers = {"Content-Security-Policy": _POLICY}
        return Response(body=self._page, headers=headers, content_type="text/html", charset="utf-8")

    @cached_property
    def _document(self) -> dict[str, Any]:
        return document.build(self._routes(), _version())

    @cached_property
    def _json(self) -> bytes:
        return msgspec.json.encode(self._document)

    @cached_property
    def _page(self) -> bytes:
        return page.page(self._routes(), self._document).encode()


def _version() -> str:
    try:
        return metadata.version("backbeat")
    except metadata.PackageNotFoundError:
        return "unknown"
