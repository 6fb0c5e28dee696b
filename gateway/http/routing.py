"""Which handler answers which call: one table, and a tree of path segments to look it up in."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from backbeat.gateway.http import errors

if TYPE_CHECKING:
    from aiohttp.web import Response

#: It takes a `Call`, which has its route: the table of routes says so.
AnyHandler = Callable[[Any], Awaitable["Response"]]


class Access(enum.Enum):
    """Who may make a call."""

    #: anybody, whatever the gateway is told to ask for
    PUBLIC = enum.auto()
    #: anybody, unless every call asks for a token
    OPEN = enum.auto()
    #: a known client (header Client-Id)
    CLIENT = enum.auto()
    #: a known client, with its token where signals and decisions ask for one
    WRITER = enum.auto()


@dataclass(frozen=True, kw_only=True)
class Route:
    """One row of the table."""

    method: str
    #: `/workflows/{id}/signal`; a segment in braces is a parameter
    path: str
    handler: AnyHandler
    summary: str
    access: Access = Access.CLIENT
    #: whether it changes something: then an Idempotency-Key counts
    writes: bool = False
    #: paths under which old clients know it
    old_paths: tuple[str, ...] = ()
    #: whether old clients do not know it: then words that it does not know are refused, and a name that its path ends
    #: with is taken whole
    new: bool = False
    #: whether its body is a record in Avro (`schemas.bodies`), not parameters
    takes_record: bool = False


@dataclass
class _Segment:
    """One segment of the known paths: what may follow, and who answers when nothing does."""

    following: dict[str, _Segment] = field(default_factory=dict)
    parameter: str = ""
    any_other: _Segment | None = None
    #: whether it is a new call's parameter at the end of its path: then `.json` is a part of it
    keeps_suffix: bool = False
    routes: dict[str, Route] = field(default_factory=dict)


class Router:
    """Finds the route of a call."""

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
        """The route and the path's parameters. A trailing slash or `.json` is as none. 404 and 405 are refused.

        Of a new call, a name at the path's end keeps its `.json`.
        """
        path = path.removesuffix("/")
        found = self._walk(path.removesuffix(".json"))
        if path.endswith(".json") and (found is None or found[0].keeps_suffix):
            found = self._walk(path)
        if found is None or not found[0].routes:
            raise errors.not_found()
        segment, values = found
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
            following = segment.following.get(part)
            if following is None:
                following = segment.any_other
                if following is None or not part:
                    return None
                values[segment.parameter] = unquote(part) if "%" in part else part
            segment = following
        return segment, values
