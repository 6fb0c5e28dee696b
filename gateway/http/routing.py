"""Routes: the table's rows, and a tree of path segments to look them up."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from backbeat.gateway.http import errors
from backbeat.gateway.people.visitor import Right

if TYPE_CHECKING:
    from aiohttp.web import Response

#: Takes a `Call`, which refers to its route in turn.
AnyHandler = Callable[[Any], Awaitable["Response"]]


class Access(enum.Enum):
    """Authentication that a call requires."""

    #: None, whatever the gateway's settings.
    PUBLIC = enum.auto()
    #: None, unless every call requires a token.
    OPEN = enum.auto()
    #: A known client (header Client-Id).
    CLIENT = enum.auto()
    #: A known client, with its token where writes require one.
    WRITER = enum.auto()


@dataclass(frozen=True, kw_only=True)
class Route:
    """A row of the table of routes."""

    method: str
    #: `/workflows/{id}/signal`; a segment in braces is a parameter.
    path: str
    handler: AnyHandler
    summary: str
    access: Access = Access.CLIENT
    #: True for a write, which may have an Idempotency-Key.
    writes: bool = False
    #: Paths of old clients.
    old_paths: tuple[str, ...] = ()
    #: True if old clients do not have the call: then unknown parameters are refused, and a name at the end of the path
    #: is taken whole.
    new: bool = False
    #: True if the body is a record in Avro (`schemas.bodies`), not parameters.
    takes_record: bool = False
    #: True if it may wait for a node to end (`Prefer: wait`): then it is no call at work meanwhile.
    waits: bool = False
    #: Right that a person needs for the call; None: no person may make it, client applications alone.
    person: Right | None = None
    #: True if a person who sees all client applications need not say which it is about.
    for_all: bool = False


@dataclass
class _Segment:
    """A segment of the known paths: its successors, and the routes that end here."""

    following: dict[str, _Segment] = field(default_factory=dict)
    parameter: str = ""
    any_other: _Segment | None = None
    #: True for the parameter that ends a new call's path: `.json` is a part of it.
    keeps_suffix: bool = False
    routes: dict[str, Route] = field(default_factory=dict)


class Router:
    """Lookup of routes by method and path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Segment()
        for route in routes:
            for path in (route.path, *route.old_paths):
                self._add(path, route)

    def _add(self, path: str, route: Route) -> None:
        segment = self._root
        for part in path.strip("/").split("/"):
            if part.startswith("{"):
                segment.any_other = segment.any_other or _Segment()
                assert segment.parameter in ("", part[1:-1]), f"two names for one segment of {path}"
                segment.parameter = part[1:-1]
                segment = segment.any_other
            else:
                segment = segment.following.setdefault(part, _Segment())
        assert route.method not in segment.routes, f"two routes for {route.method} {path}"
        segment.keeps_suffix = route.new and path.endswith("}")
        segment.routes[route.method] = route

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and the path's parameters. A trailing slash or `.json` is ignored. 404, 405.

        A name at the end of a new call's path keeps its `.json`.
        """
        path = path.removesuffix("/")
        match = self._walk(path.removesuffix(".json"))
        if path.endswith(".json") and (match is None or match[0].keeps_suffix):
            match = self._walk(path)
        if match is None or not match[0].routes:
            raise errors.not_found()
        segment, values = match
        route = segment.routes.get(method)
        if route is None and method == "HEAD":
            route = segment.routes.get("GET")
        if route is None:
            raise errors.method_not_allowed(method[:16], ", ".join(sorted(segment.routes)))
        return route, values

    def _walk(self, path: str) -> tuple[_Segment, dict[str, str]] | None:
        segment = self._root
        values: dict[str, str] = {}
        for part in path.split("/")[1:]:
            successor = segment.following.get(part)
            if successor is None:
                successor = segment.any_other
                if successor is None or not part:
                    return None
                values[segment.parameter] = unquote(part) if "%" in part else part
            segment = successor
        return segment, values
