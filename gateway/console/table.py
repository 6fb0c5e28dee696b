"""Table of pages and actions: method, path, handler, right. Nothing else decides who may come where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from backbeat.gateway.console.live import events
from backbeat.gateway.console.pages import (
    activities,
    change,
    go,
    jobs,
    login,
    me,
    node,
    overview,
    stuck,
    timeline,
    workflow,
)
from backbeat.gateway.console.pages.lists import audit, search
from backbeat.gateway.console.pages.operations import (
    archives,
    clients,
    drill_forms,
    drills,
    letters,
    retention,
    schedule_forms,
    schedules,
    signals,
    system,
)
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.people.visitor import Right

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
    Row("GET", "workflows.csv", search.download_workflows),
    Row("GET", "workflows.jsonl", search.download_workflows),
    Row("GET", "workflows/{id}", workflow.show, entry="workflows"),
    Row("GET", "workflows/{id}/timeline", timeline.show, entry="workflows"),
    Row("GET", "workflows/{id}/rows", workflow.rows),
    Row("GET", "workflows/{id}/history.csv", search.download_history),
    Row("GET", "workflows/{id}/history.jsonl", search.download_history),
    Row("GET", "nodes", search.nodes, entry="nodes"),
    Row("GET", "nodes.csv", search.download_nodes),
    Row("GET", "nodes.jsonl", search.download_nodes),
    Row("GET", "nodes/{id}", node.show, entry="nodes"),
    Row("GET", "nodes/{id}/data/{which}", node.data, Right.PAYLOADS),
    Row("GET", "nodes/{id}/{action}", change.node_form, Right.ACT, entry="nodes"),
    Row("POST", "nodes/{id}/{action}", change.node, Right.ACT, entry="nodes"),
    Row("GET", "workflows/{id}/signal", signals.show, Right.ACT, entry="workflows"),
    Row("POST", "workflows/{id}/signal", signals.send, Right.ACT, entry="workflows"),
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
    Row("GET", "schedules", schedules.show_all, entry="schedules"),
    Row("GET", "schedules/new", schedule_forms.show_new, Right.ACT, entry="schedules"),
    Row("POST", "schedules/new", schedule_forms.create, Right.ACT, entry="schedules"),
    Row("GET", "schedules/{id}/change", schedule_forms.show, Right.ACT, entry="schedules"),
    Row("POST", "schedules/{id}/change", schedule_forms.change, Right.ACT, entry="schedules"),
    Row("GET", "schedules/{id}", schedules.show, entry="schedules"),
    Row("POST", "schedules/{id}", schedules.change, Right.ACT, entry="schedules"),
    Row("GET", "letters", letters.show_all, entry="letters"),
    Row("POST", "letters", letters.settle, Right.ACT, entry="letters"),
    Row("GET", "letters/{position}", letters.show, entry="letters"),
    Row("GET", "clients", clients.show_all, entry="clients"),
    Row("GET", "clients/{id}", clients.show, entry="clients"),
    Row("GET", "retention", retention.show, entry="retention"),
    Row("POST", "retention", retention.change, Right.ACT, entry="retention"),
    Row("GET", "archives", archives.show_all, entry="retention"),
    Row("GET", "archive", archives.show, entry="retention"),
    Row("GET", "drills", drills.show_all, entry="drills"),
    Row("GET", "drills/compare", drills.compare, entry="drills"),
    Row("GET", "drills/begin", drill_forms.show, Right.ACT, entry="drills"),
    Row("POST", "drills/begin", drill_forms.begin, Right.ACT, entry="drills"),
    Row("GET", "drills/{run}", drills.show, entry="drills"),
    Row("POST", "drills/{run}", drill_forms.abort, Right.ACT, entry="drills"),
    Row("GET", "live", events.live),
    Row("GET", "audit", audit.show, entry="audit"),
    Row("GET", "audit.csv", audit.download),
    Row("GET", "audit.jsonl", audit.download),
    Row("GET", "me", me.show, entry="me"),
    Row("POST", "me", me.change, entry="me"),
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


def _match(patterns: list[str], segments: list[str]) -> dict[str, str] | None:
    if len(patterns) != len(segments):
        return None
    values = {}
    for pattern, segment in zip(patterns, segments, strict=True):
        if pattern.startswith("{"):
            values[pattern[1:-1]] = segment
        elif pattern != segment:
            return None
    return values
