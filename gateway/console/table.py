"""Table of pages and actions: method, path, handler, right. Nothing else decides who may come where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from backbeat.gateway.console.live import events
from backbeat.gateway.console.pages import (
    activities,
    audit,
    change,
    go,
    jobs,
    login,
    node,
    overview,
    search,
    stuck,
    system,
    workflow,
)
from backbeat.gateway.console.people.visitor import Right
from backbeat.gateway.console.visit import Page, Visit

Handler = Callable[[Visit], Awaitable[Page | web.StreamResponse]]


class Row(msgspec.Struct, frozen=True):
    """A page or an action."""

    method: str
    #: Below `/ui/`; a segment in braces is a parameter.
    path: str
    handler: Handler
    right: Right = Right.READ
    #: Entry of the navigation that is marked as the current one.
    entry: str = ""


TABLE: tuple[Row, ...] = (
    Row("GET", "", overview.show, entry="overview"),
    Row("GET", "go", go.find),
    Row("GET", "workflows", search.workflows, entry="workflows"),
    Row("GET", "workflows/{id}", workflow.show, entry="workflows"),
    Row("GET", "workflows/{id}/rows", workflow.rows),
    Row("GET", "nodes", search.nodes, entry="nodes"),
    Row("GET", "nodes/{id}", node.show, entry="nodes"),
    Row("GET", "nodes/{id}/data/{which}", node.data, Right.PAYLOADS),
    Row("GET", "nodes/{id}/{action}", change.node_form, Right.ACT, entry="nodes"),
    Row("POST", "nodes/{id}/{action}", change.node, Right.ACT, entry="nodes"),
    Row("GET", "workflows/{id}/{action}", change.workflow_form, Right.ACT, entry="workflows"),
    Row("POST", "workflows/{id}/{action}", change.workflow, Right.ACT, entry="workflows"),
    Row("GET", "stuck", stuck.show, entry="stuck"),
    Row("GET", "activities", activities.show_all, entry="activities"),
    Row("GET", "activity", activities.show, entry="activities"),
    Row("POST", "activity", activities.change, Right.ACT, entry="activities"),
    Row("GET", "jobs", jobs.show_all, entry="jobs"),
    Row("POST", "jobs", jobs.count, Right.ACT, entry="jobs"),
    Row("GET", "jobs/{id}", jobs.show, entry="jobs"),
    Row("POST", "jobs/{id}", jobs.start, Right.ACT, entry="jobs"),
    Row("POST", "jobs/{id}/stop", jobs.stop, Right.ACT, entry="jobs"),
    Row("GET", "live", events.live),
    Row("GET", "audit", audit.show, entry="audit"),
    Row("GET", "login", login.show, Right.NONE),
    Row("POST", "login", login.log_in, Right.NONE),
    Row("POST", "logout", login.log_out, Right.NONE),
    Row("GET", "system", system.show, entry="system"),
)


def find(path: str) -> dict[str, tuple[Row, dict[str, str]]]:
    """Rows of a path by method, each with the path's parameters."""
    segments = path.split("/")
    rows: dict[str, tuple[Row, dict[str, str]]] = {}
    for row in TABLE:
        values = _match(row.path.split("/"), segments)
        if values is not None:
            rows.setdefault(row.method, (row, values))
    return rows


def _match(wanted: list[str], segments: list[str]) -> dict[str, str] | None:
    if len(wanted) != len(segments):
        return None
    values = {}
    for pattern, segment in zip(wanted, segments, strict=True):
        if pattern.startswith("{"):
            values[pattern[1:-1]] = segment
        elif pattern != segment:
            return None
    return values
