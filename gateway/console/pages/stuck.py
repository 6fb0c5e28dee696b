"""Failures by cause, activity, client or workflow: one or many, since when, growing or not; and what retries them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec

from backbeat.gateway.api.shapes.reports import (
    FAILURE_GROUPS,
    FAILURE_KINDS,
    STUCK_HOURS,
    Cause,
    Causes,
    FailureGroup,
    Failures,
)
from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.show.times import now_ms
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.projection.reading.reports import silent
from backbeat.payload.nouns import time_text

_ROWS = 50
_GROUPS = ("cause", *FAILURE_GROUPS)
#: Kind of nodes that have not failed, and on which nothing has changed for long.
_SILENT = "silent"
_SILENT_MS = round(STUCK_HOURS * 3_600_000)
_KINDS = dict(zip(FAILURE_KINDS, ("exhausted", "server error", "retrying", "overdue"), strict=True))


class CauseRow(msgspec.Struct, frozen=True):
    """A cause, with its client's name and what retries it."""

    cause: Cause
    client: str
    #: Status that most of its nodes are at.
    status: str


class GroupRow(msgspec.Struct, frozen=True):
    """Failed nodes of an activity, a client or a workflow, with where these are shown."""

    group: FailureGroup
    client: str
    address: str
    #: Filters of the list of its nodes.
    words: dict[str, str]


class KindLink(msgspec.Struct, frozen=True):
    """A kind of failures, and the page of it alone; of the one that is shown, the page of all."""

    label: str
    nodes: int
    address: str
    is_shown: bool


class Silence(msgspec.Struct, frozen=True):
    """Nodes on which nothing has changed for long, by status."""

    #: Milliseconds since the epoch: nothing has changed after this.
    since: int
    nodes: dict[str, int]


async def show(visit: Visit) -> Page:
    """GET /ui/stuck."""
    client_name = visit.query.get("client", "")
    by = visit.query.get("by") or "cause"
    if by not in _GROUPS:
        raise PageError(400, "Nothing is grouped by that", f"There are {', '.join(_GROUPS)}.")
    is_silent = visit.query.get("kind") == _SILENT
    kinds = [] if is_silent else _kinds(visit)
    report = await _report(visit, by, kinds)
    silence = await _silence(visit)
    rows: list[CauseRow] | list[GroupRow] | None = None
    if isinstance(report, Causes):
        rows = [row_of(visit, cause) for cause in report.causes]
    elif report is not None:
        rows = [_group(visit, group) for group in report.groups]
    counts = report.kinds if report is not None else {}
    return visit.page(
        "stuck.html",
        "Stuck",
        live="t=figures",
        hour=visit.parts.counter.course.failing(_client_ids(visit), now_ms()),
        rows=rows,
        more=0 if report is None else report.more,
        failing=counts.get("exhausted", 0) + counts.get("errored", 0),
        by=by,
        groups=[(word, visit.address(by=None if word == "cause" else word)) for word in _GROUPS],
        kinds=[_kind_link(visit, kind, kinds, counts.get(kind, 0)) for kind in FAILURE_KINDS],
        silent=silence and _silent_link(visit, silence, is_shown=is_silent),
        silent_nodes=_silent_nodes(visit, silence) if is_silent and silence is not None else None,
        is_silent=is_silent,
        silent_hours=STUCK_HOURS,
        is_narrowed=bool(kinds),
        clients=[(client.name, visit.address(client=client.name)) for client in visit.clients()],
        client_name=client_name,
        of_all=visit.address(client=None),
    )


def _kinds(visit: Visit) -> list[str]:
    kinds = [kind for kind in visit.query.get("kind", "").split(",") if kind]
    if not set(kinds) <= set(FAILURE_KINDS):
        raise PageError(400, "There is no such kind", f"There are {', '.join(FAILURE_KINDS)}, or {_SILENT} alone.")
    return sorted(set(kinds), key=FAILURE_KINDS.index)


async def _report(visit: Visit, by: str, kinds: list[str]) -> Causes | Failures | None:
    """Report of causes or groups; None while the search is away."""
    client_ids = _client_ids(visit)
    if by == "cause":
        return await causes_of(visit, client_ids, kinds)
    key = (by, tuple(kinds), None if client_ids is None else frozenset(client_ids))
    return await visit.share(key, lambda: visit.services.projection.failures(client_ids, by, _ROWS, kinds), None)


def _client_ids(visit: Visit) -> list[bytes] | None:
    """Clients that the page is about; None: all. PageError 400: there is no such client."""
    clients = visit.chosen_clients()
    # Those of all clients are asked for once, not client by client.
    is_of_all = visit.who.clients is None and not visit.query.get("client")
    return None if is_of_all else [client.id_bytes for client in clients]


async def causes_of(visit: Visit, client_ids: list[bytes] | None, kinds: Collection[str] = ()) -> Causes | None:
    """Causes of these clients' failed nodes (None: of all), of some kinds alone; None while the search is away."""
    key = ("cause", tuple(kinds), None if client_ids is None else frozenset(client_ids))
    # With 100,000 failing nodes it is a walk over all of them: pages share one.
    return await visit.share(key, lambda: visit.services.projection.causes(client_ids, _ROWS, kinds=kinds), None)


def _kind_link(visit: Visit, kind: str, shown: list[str], nodes: int) -> KindLink:
    is_shown = kind in shown
    return KindLink(_KINDS[kind], nodes, visit.address(kind=None if is_shown else kind), is_shown)


async def _silence(visit: Visit) -> Silence | None:
    """Silent nodes of the clients that the page is about; None while the search is away."""
    client_ids = _client_ids(visit)

    async def read() -> Silence:
        since = now_ms() - _SILENT_MS
        return Silence(
            since, await visit.services.projection.read(lambda connection: silent(connection, client_ids, since))
        )

    return await visit.share((_SILENT, None if client_ids is None else frozenset(client_ids)), read, None)


def _silent_link(visit: Visit, silence: Silence, *, is_shown: bool) -> KindLink:
    label = f"silent for {STUCK_HOURS:g} h"
    return KindLink(label, sum(silence.nodes.values()), visit.address(kind=None if is_shown else _SILENT), is_shown)


def _silent_nodes(visit: Visit, silence: Silence) -> list[tuple[str, int, str]]:
    """Statuses, how many silent nodes are at each, and the list of these."""
    client = {"client": visit.query["client"]} if visit.query.get("client") else {}
    since = time_text(silence.since)
    return [
        (status, nodes, visit.address_of("nodes", status=status, unchanged_since=since, **client))
        for status, nodes in silence.nodes.items()
        if nodes
    ]


def row_of(visit: Visit, cause: Cause) -> CauseRow:
    """A cause as pages show it."""
    status = max(cause.nodes, key=lambda word: (cause.nodes[word], word == "retries_exhausted"))
    if cause.failing:
        status = "retries_exhausted" if cause.nodes.get("retries_exhausted") else "errored"
    client = visit.client_name(UUID(cause.user_id).bytes)
    return CauseRow(cause, client, status)


def _group(visit: Visit, group: FailureGroup) -> GroupRow:
    client = visit.client_name(UUID(group.user_id).bytes)
    words: dict[str, Any]
    if group.workflow_id is not None:
        # Its nodes may be other clients', too.
        words = {"workflow": group.workflow_id}
        address = f"{visit.base}workflows/{group.workflow_id}?show=failing"
    elif group.activity is not None:
        words = {"client": client, "name": group.activity}
        address = visit.address_of("activity", **words)
    else:
        words = {"client": client}
        address = visit.address(client=client, by=None)
    return GroupRow(group, client, address, words)


async def cause_by_id(visit: Visit, cause_id: str) -> Cause | None:
    """The cause with this id, of those that the visitor sees."""
    clients = None if visit.who.clients is None else list(visit.who.clients)
    report = await visit.with_projection(lambda: visit.services.projection.causes(clients, 1, cause_id), None)
    return next(iter(report.causes), None) if report is not None else None
