"""Search over several clients: a page of each, merged, newest first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

import msgspec
from sqlalchemy import Connection, text

from backbeat.client.search import SearchCount
from backbeat.gateway.projection.reading import search
from backbeat.gateway.projection.reading.filters import NodeFilters, WorkflowFilters
from backbeat.schemas.messages.views import NodeView, WorkflowView

_ROWS_AT_ONCE = 1_000

View = TypeVar("View", NodeView, WorkflowView)
Filters = TypeVar("Filters", NodeFilters, WorkflowFilters)


def workflows_of(connection: Connection, user_ids: Iterable[bytes], filters: WorkflowFilters) -> list[WorkflowView]:
    """A page of workflows of these clients that have nodes, newest first. `page` is the first: go on by `last_id`."""
    return _merged(connection, "workflows", user_ids, filters, search.search_workflows)


def nodes_of(connection: Connection, user_ids: Iterable[bytes], filters: NodeFilters) -> list[NodeView]:
    """A page of nodes that these clients run, newest first, likewise."""
    filters = msgspec.structs.replace(filters, newest_first=True)
    return _merged(connection, "nodes", user_ids, filters, search.search_nodes)


def count(
    connection: Connection, user_ids: Iterable[bytes], filters: WorkflowFilters | NodeFilters, count_max: int
) -> SearchCount:
    """Number of rows of these clients that match; counted up to `count_max`, which costs what so long a page does."""
    rows = 0
    for user_id in user_ids:
        rest = msgspec.structs.replace(filters, page=1, per_page=count_max + 1 - rows)
        if isinstance(rest, NodeFilters):
            rows += len(search.find_nodes(connection, user_id, rest))
        else:
            rows += len(search.find_workflows(connection, user_id, rest))
        if rows > count_max:
            return SearchCount(count=count_max, more=True)
    return SearchCount(count=rows, more=False)


def _merged(
    connection: Connection,
    table: str,
    user_ids: Iterable[bytes],
    filters: Filters,
    search_user: Callable[[Connection, bytes, Filters], list[View]],
) -> list[View]:
    if filters.last_id is not None:
        # It is one client's: where the others' pages go on is known by its time alone.
        row = connection.execute(
            text(f"SELECT created, id FROM {table} WHERE id = :id"),  # noqa: S608 - one of two names above
            {"id": filters.last_id},
        ).first()
        if row is None:
            return []
        filters = msgspec.structs.replace(filters, last_id=None, older_than=(row.created, row.id))
    user_ids = list(user_ids)
    # Of each client as many rows as of all would be read, to show few of them: of long pages each is read in parts.
    count = filters.per_page if len(user_ids) == 1 else min(filters.per_page, _ROWS_AT_ONCE)
    parts = (_rows(connection, user_id, filters, count, search_user) for user_id in user_ids)
    return list(islice(heapq.merge(*parts, key=_position, reverse=True), filters.per_page))


def _rows(
    connection: Connection,
    user_id: bytes,
    filters: Filters,
    count: int,
    search_user: Callable[[Connection, bytes, Filters], list[View]],
) -> Iterator[View]:
    """Rows of a client, newest first, read so many at a time."""
    while True:
        views = search_user(connection, user_id, msgspec.structs.replace(filters, per_page=count))
        yield from views
        if not views or len(views) < count:
            return
        filters = msgspec.structs.replace(filters, older_than=_position(views[-1]))


def _position(view: NodeView | WorkflowView) -> tuple[int, bytes]:
    return view.created_at, view.id
