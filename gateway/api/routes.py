"""Table of routes: method, path, handler, summary. The API's description is made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from aiohttp.web import Response

from backbeat.gateway.api import (
    activities,
    changes,
    health,
    jobs,
    limits,
    records,
    schedules,
    search,
    users,
    waits,
    workflows,
)
from backbeat.gateway.api.operations import audit, letters, reports, retention
from backbeat.gateway.http.call import Call
from backbeat.gateway.http.routing import Access, Route
from backbeat.gateway.openapi.description import Description
from backbeat.gateway.people.visitor import Right

Handler = Callable[[Call], Awaitable[Response]]
_OLD = "/v2"
_NODES, _OLD_NODES = "/activities", "/v2/events"


def _get(path: str, handler: Handler, summary: str, access: Access = Access.CLIENT) -> Route:
    return Route(method="GET", path=path, handler=handler, summary=summary, access=access)


def _put(path: str, handler: Handler, summary: str, access: Access = Access.CLIENT) -> Route:
    return Route(method="PUT", path=path, handler=handler, summary=summary, access=access, writes=True)


def _post(path: str, handler: Handler, summary: str, access: Access = Access.CLIENT) -> Route:
    return Route(
        method="POST",
        path=path,
        handler=handler,
        summary=summary,
        access=access,
        writes=True,
    )


_WORKFLOWS = (
    _post("/workflows", workflows.create, "Find or create a workflow"),
    _get("/workflows", workflows.find, "Find a workflow by name, subject and decider"),
    _get("/workflows/names", search.names, "The names of the caller's workflows"),
    _get("/workflows/search", search.workflows, "Search workflows"),
    _get("/workflows/{id}", workflows.show, "A workflow"),
    _post("/workflows/{id}/signal", workflows.signal, "Add a signal", Access.WRITER),
    _post("/workflows/{id}/signal/{name}", workflows.signal_by_name, "Add a signal of this name", Access.WRITER),
    _put("/workflows/{id}/complete", workflows.complete, "Take no more signals"),
    _put("/workflows/{id}/pause", workflows.pause, "Start nothing until it is resumed"),
    _put("/workflows/{id}/resume", workflows.resume, "Go on with a paused workflow"),
    _get("/workflows/{id}/tree", workflows.tree, "A workflow's nodes, nested"),
    _get("/workflows/{id}/tree/print", workflows.print_tree, "A workflow's nodes as coloured text"),
    _get("/workflows/{id}/children", workflows.children, "A workflow's top-level nodes"),
    _get("/workflows/{id}/nodes", workflows.nodes, "All nodes of a workflow"),
)

_ACTIVITIES = (
    _get("/activities/search", search.nodes, "Search activities"),
    _get("/activities/{id}", activities.show, "An activity"),
    _get("/activities/{id}/errors", activities.errors_of, "An activity's changes to errored"),
    _get("/activities/{id}/status_changes", activities.status_changes, "An activity's status changes"),
    _get("/activities/{id}/response", activities.response, "The response of the last client status change"),
    _put("/activities/{id}/status/{status}", activities.change_status, "Say how an activity goes"),
    _post("/activities/{id}/decisions", activities.add_decisions, "Add children to an activity", Access.WRITER),
    _put("/activities/{id}/restart", activities.restart, "Try an activity again now"),
    _put("/activities/{id}/reset", activities.reset, "Deactivate everything below an activity"),
    _put("/activities/{id}/schedule", activities.schedule, "Look again what below an activity can start"),
)

_WAITS = (
    _get("/activities/{id}/waits", waits.waits, "Why an activity does not go on"),
    _get("/activities/{id}/children", waits.children_of_node, "The nodes right below an activity, and their waits"),
    _get("/activities/{id}/child_counts", reports.child_counts_of, "How many nodes are right below an activity"),
    _get("/activities/{id}/path", waits.path, "The nodes above an activity, and the activity"),
    _get("/workflows/{id}/changes", changes.changes, "A workflow's changes as they come, as server-sent events"),
    _get("/workflows/{id}/outcome", waits.outcome, "Whether a workflow runs, has failed or is done, and what fails"),
    _get("/workflows/{id}/timeline", reports.timeline_of, "Where a workflow's time went"),
    _get("/workflows/{id}/top", waits.top_of_workflow, "The nodes at the top of a workflow, and their waits"),
)

_COUNTS = (
    _get("/workflows/search/count", search.count_workflows, "How many workflows a search finds"),
    _get("/activities/search/count", search.count_nodes, "How many activities a search finds"),
)

_MESSAGES = (_post("/workflows/{id}/messages/{name}", waits.send, "Send a message to a workflow", Access.WRITER),)

_LIMITS = (
    _get("/limits", limits.index, "The limits of the caller's activities, and how they stand"),
    _get("/limits/{activity}", limits.show, "The limit of an activity"),
    _put("/limits/{activity}", limits.put, "Limit an activity", Access.WRITER),
    Route(
        method="DELETE",
        path="/limits/{activity}",
        handler=limits.remove,
        summary="Limit an activity no more",
        access=Access.WRITER,
        writes=True,
    ),
    _put("/limits/{activity}/pause", limits.pause, "Start none of an activity until it is resumed", Access.WRITER),
    _put("/limits/{activity}/resume", limits.resume, "Go on with a paused activity", Access.WRITER),
)

_SCHEDULES = (
    _get("/schedules", schedules.index, "The caller's schedules"),
    _put("/schedules/{name}", schedules.put, "Make or change a schedule", Access.WRITER),
    _get("/schedules/{name}", schedules.show, "A schedule, with its next and past runs"),
    Route(
        method="DELETE",
        path="/schedules/{name}",
        handler=schedules.delete,
        summary="Forget a schedule; what it started goes on",
        access=Access.WRITER,
        writes=True,
    ),
    _put("/schedules/{name}/pause", schedules.pause, "Let nothing be due until it is resumed", Access.WRITER),
    _put("/schedules/{name}/resume", schedules.resume, "Go on with a paused schedule, from now", Access.WRITER),
    _post("/schedules/{name}/trigger", schedules.trigger, "A run of a schedule now", Access.WRITER),
    _post("/schedules/{name}/backfill", schedules.backfill, "Runs of a schedule for past times", Access.WRITER),
)

_JOBS = (
    _post("/jobs", jobs.start, "Change all nodes or workflows that match", Access.WRITER),
    _get("/jobs", jobs.index, "The caller's jobs"),
    _get("/jobs/{id}", jobs.show, "How far a job is"),
    _put("/jobs/{id}/stop", jobs.stop, "Have a job go no further", Access.WRITER),
)

_RETENTION = (
    _get("/retention", retention.index, "How long finished workflows are kept"),
    _get("/retention/{workflow}", retention.show, "How long finished workflows of a name are kept"),
    _put("/retention/{workflow}", retention.put, "Keep finished workflows of a name for so long", Access.WRITER),
    Route(
        method="DELETE",
        path="/retention/{workflow}",
        handler=retention.remove,
        summary="Keep workflows of a name for ever again",
        access=Access.WRITER,
        writes=True,
    ),
    _get("/archives", retention.archives, "Folders of archives, or the archives in one"),
    _get("/archives/content", retention.archive, "An archived workflow, with its nodes and their status changes"),
)

_LETTERS = (
    _get("/dead-letters", letters.index, "The caller's records that could not be processed"),
    _get("/dead-letters/{position}", letters.show, "A record that could not be processed, with its content"),
    # A repeat is told by the letter's mark: no key is needed.
    Route(
        method="POST",
        path="/dead-letters/redrive",
        handler=letters.redrive,
        summary="Send records in again where they came from",
        access=Access.WRITER,
    ),
    Route(
        method="POST",
        path="/dead-letters/drop",
        handler=letters.drop,
        summary="Count records as nobody's concern any more",
        access=Access.WRITER,
    ),
)

_REPORTS = (
    _get("/reports/summary", reports.summary, "Counts by workflow and activity, timers", Access.OPEN),
    _get("/reports/activities", reports.activities, "The activities that are at work", Access.OPEN),
    _get("/reports/causes", reports.causes, "The caller's failed activities by cause"),
    _get("/reports/failures", reports.failures, "The caller's failed activities by name, user or workflow"),
    _get("/reports/queues", reports.queues, "What waits in topics, and who takes it", Access.OPEN),
    _get("/audit", audit.index, "What people did, to what, and why"),
    _get("/reports/engines", reports.engines, "Which engine has which partition, and how that stands", Access.OPEN),
    _get("/reports/daily", reports.daily, "What came of nodes in a day, and which are stuck", Access.OPEN),
)

_RECORDS = (
    replace(_post("/commands", records.command, "A command, as it stands on Kafka"), takes_record=True),
    Route(
        method="POST",
        path="/queries",
        handler=records.query,
        summary="A query, as it stands on Kafka",
        takes_record=True,
    ),
    _get("/schemas/{fingerprint}", records.schema, "The schema of a record"),
)

_description = Description(lambda: ROUTES)

_TABLE: tuple[Route, ...] = (
    *(replace(route, old_paths=(_OLD + route.path,)) for route in _WORKFLOWS),
    *(replace(route, old_paths=(route.path.replace(_NODES, _OLD_NODES, 1),)) for route in _ACTIVITIES),
    *(
        replace(route, new=True)
        for route in (
            *_WAITS,
            *_COUNTS,
            *_MESSAGES,
            *_LIMITS,
            *_SCHEDULES,
            *_JOBS,
            *_RETENTION,
            *_LETTERS,
            *_REPORTS,
            *_RECORDS,
        )
    ),
    _get("/users", users.index, "Ids and names of the users", Access.OPEN),
    _get("/users/{id}", users.show, "A user's id and name", Access.OPEN),
    _get("/v2/debug/error_workflows", search.error_workflows, "Workflows with an errored node of the caller's"),
    _get("/health", health.health, "Which part cannot be reached", Access.PUBLIC),
    _get("/heartbeat.txt", health.heartbeat, "Whether callers should be sent here", Access.PUBLIC),
    _get("/sidekiq_stats", health.stats, "Figures under the original's keys", Access.OPEN),
    _get("/openapi.json", _description.openapi, "This description, for programs", Access.PUBLIC),
    _get("/docs", _description.docs, "This description, for people", Access.PUBLIC),
)

#: Routes that show arguments, results or metadata, or filter by them: a person needs the right to see payloads.
_WITH_PAYLOADS = frozenset(
    {
        "GET /workflows/{id}/tree",
        "GET /workflows/{id}/children",
        "GET /workflows/{id}/nodes",
        "GET /activities/search",
        "GET /activities/search/count",
        "GET /activities/{id}",
        "GET /activities/{id}/errors",
        "GET /activities/{id}/status_changes",
        "GET /activities/{id}/response",
        "GET /schedules",
        "GET /schedules/{name}",
        "GET /dead-letters/{position}",
        "GET /archives/content",
    }
)
#: Routes that may wait for a node to end.
_OF_WAITS = frozenset({"GET /activities/{id}", "POST /queries"})
#: Routes to what is a client application's by its very name: a person says which.
_OF_A_CLIENT = frozenset(
    {
        "POST /workflows",
        "GET /workflows",
        "POST /workflows/{id}/signal",
        "POST /workflows/{id}/signal/{name}",
        "POST /activities/{id}/decisions",
        "POST /workflows/{id}/messages/{name}",
        "GET /workflows/{id}/changes",
        "GET /limits/{activity}",
        "PUT /limits/{activity}",
        "DELETE /limits/{activity}",
        "PUT /limits/{activity}/pause",
        "PUT /limits/{activity}/resume",
        "PUT /schedules/{name}",
        "GET /retention/{workflow}",
        "PUT /retention/{workflow}",
        "DELETE /retention/{workflow}",
        "GET /v2/debug/error_workflows",
    }
)


def _completed(route: Route) -> Route:
    """The route with whether it waits, and what a person needs for it: whoever changes something is an operator."""
    call = f"{route.method} {route.path}"
    if route.access is Access.PUBLIC:
        return route
    is_query = route.path == "/queries"
    right = Right.READ if route.method == "GET" or is_query else Right.ACT
    return replace(
        route,
        waits=call in _OF_WAITS,
        person=Right.PAYLOADS if call in _WITH_PAYLOADS else right,
        for_all=call not in _OF_A_CLIENT,
    )


ROUTES: tuple[Route, ...] = tuple(map(_completed, _TABLE))
