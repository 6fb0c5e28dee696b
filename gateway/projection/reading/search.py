"""Searches (behaviour document, section 5): from filters to index ranges, conditions and candidates.

- user or name, and statuses without a time: merged index ranges (`ordered`, `states`). Exact for any combination.
- parent, transaction, slot, workflow: the range of the narrowest of them; what else is asked of each of its rows.
- a text within, a time of a change: conditions, checked row by row along those ranges. That is quick where many rows
  match. Where few do, they are *candidates* of an index of their own (trigrams; times of changes), sorted.

The better way is unknown beforehand, so both are tried in turn, each with a bound, until one has the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from backbeat.gateway.projection.reading.conditions import (
    METADATA_TEXTS,
    NEVER,
    SUBJECT_TEXTS,
    Candidates,
    Query,
    add_a_node,
    add_cause,
    add_text,
    change_condition,
    has_times,
    listed,
    narrow,
)
from backbeat.gateway.projection.reading.filters import NodeFilters, WorkflowFilters
from backbeat.gateway.projection.reading.ordered import RowPosition, Scan, Source, first_rows
from backbeat.gateway.projection.storage import rows, states
from backbeat.gateway.projection.storage.cause import key_of_id
from backbeat.gateway.projection.storage.database import is_postgresql
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.views import NodeView, WorkflowView

_FIRST_ROWS = 500
#: Candidates that are looked up before anything else is tried.
_FEW = 2_000
#: Candidates, or rows of a user or name, that can be looked up one by one.
_MANY = 25_000
_ROWS_MORE = 10_000


def search_nodes(connection: Connection, user_id: bytes, filters: NodeFilters) -> list[NodeView]:
    """A page of the user's nodes, oldest first."""
    return nodes_by_number(connection, find_nodes(connection, user_id, filters), states.user_key(user_id))


def search_workflows(connection: Connection, user_id: bytes, filters: WorkflowFilters) -> list[WorkflowView]:
    """A page of the user's workflows that have nodes, newest first."""
    return workflows_by_number(connection, find_workflows(connection, user_id, filters), states.user_key(user_id))


def find_nodes(connection: Connection, user_id: bytes, filters: NodeFilters) -> list[int]:
    """Row numbers of a page of nodes, in order."""
    user_key = states.user_key(user_id)
    page = _prepare(connection, "nodes", user_id, filters)
    if page is None:
        return []
    older_than, wanted_states = page
    workflow_no = 0 if filters.workflow_id is None else _workflow_number(connection, filters.workflow_id)
    name_key = None if filters.name is None else states.name_key(user_id, filters.name)
    cause_key = None if filters.cause is None else key_of_id(filters.cause)
    if filters.cause is not None:
        # A cause is of one activity: the range of its name is the one to read.
        activity = _activity_of(connection, user_key, cause_key)
        name_key = activity if name_key in {None, activity} else None
    if workflow_no is None or (filters.cause is not None and name_key is None):
        return []
    source = Source(
        table="nodes",
        number="no",
        column="user_key" if name_key is None else "name_key",
        key=user_key if name_key is None else name_key,
        states=wanted_states,
        newest_first=filters.newest_first,
        ranges_are_ordered=is_postgresql(connection),
    )
    query = _query(source, older_than, filters, user_id)
    if wanted_states is not None:
        query.membership.append(f"ranges.state + 0 IN ({listed(wanted_states)})")
    narrow(query, filters, workflow_no)
    if cause_key is not None:
        add_cause(query, cause_key)
    if filters.metadata_contains:
        add_text(connection, query, filters.metadata_contains, METADATA_TEXTS)
    if filters.unchanged_since_ms is not None:
        query.values["unchanged_since"] = filters.unchanged_since_ms
        source.also.append("last_at <= :unchanged_since")
        query.membership.append("ranges.last_at <= :unchanged_since")
    if has_times(filters):
        source.also.append("last_at >= :since")
        change = change_condition(filters)
        query.conditions.append(
            f"EXISTS (SELECT 1 FROM status_changes AS c WHERE c.node_no = ranges.no AND {change})"  # noqa: S608 - our own words and whole numbers
        )
        times = f"SELECT c.node_no AS no FROM status_changes AS c WHERE c.user_key = :user_key AND {change}"  # noqa: S608 - as above
        query.times.append(Candidates(times, times))
    return _numbers(connection, query)


def find_workflows(connection: Connection, user_id: bytes, filters: WorkflowFilters) -> list[int]:
    """Row numbers of a page of workflows, in order."""
    user_key = states.user_key(user_id)
    page = _prepare(connection, "workflows", user_id, filters)
    if page is None:
        return []
    older_than, wanted_states = page
    source = Source(
        table="workflows" if wanted_states is None else "workflow_states",
        number="no" if wanted_states is None else "workflow_no",
        column="user_key" if filters.name is None else "name_key",
        key=user_key if filters.name is None else states.name_key(user_id, filters.name),
        states=wanted_states,
        also=["has_nodes = 1"] if wanted_states is None else [],
        newest_first=True,
        ranges_are_ordered=is_postgresql(connection),
    )
    query = _query(source, older_than, filters, user_id)
    query.membership.append("ranges.has_nodes = 1")
    if wanted_states is not None:
        query.membership.append(
            "EXISTS (SELECT 1 FROM workflow_states AS s WHERE s.workflow_no = ranges.no"  # noqa: S608 - as above
            f" AND s.state IN ({listed(wanted_states)}))"
        )
    if filters.subject_contains:
        add_text(connection, query, filters.subject_contains, SUBJECT_TEXTS)
    if has_times(filters) or filters.tid is not None or filters.slot is not None:
        add_a_node(query, filters, wanted_states)
    return _numbers(connection, query)


def _prepare(
    connection: Connection, table: str, user_id: bytes, filters: WorkflowFilters | NodeFilters
) -> tuple[RowPosition | None, list[int] | None] | None:
    """Position of `last_id`, and the wanted states; None: no row can match."""
    if filters.per_page <= 0 or filters.page <= 0:
        return None
    older_than = RowPosition(*filters.older_than) if filters.older_than is not None else None
    if filters.last_id is not None:
        row = connection.execute(
            text(f"SELECT created, id FROM {table} WHERE id = :id AND user_key = :user_key"),  # noqa: S608 - as above
            {"id": filters.last_id, "user_key": states.user_key(user_id)},
        ).first()
        if row is None:
            return None
        older_than = RowPosition(row.created, row.id)
    wanted_states = None
    # What asks when statuses changed is answered by the indexes that begin with states: they have the newest change.
    if _is_of_states(filters):
        wanted_states = states.matching(all_states(connection), filters.current_status, filters.past_status)
    if isinstance(filters, NodeFilters) and filters.cause is not None:
        matching = all_states(connection) if wanted_states is None else wanted_states
        wanted_states = list(filter(states.has_failed, matching))
    return None if wanted_states == [] else (older_than, wanted_states)


def _is_of_states(filters: WorkflowFilters | NodeFilters) -> bool:
    if filters.current_status is not None or filters.past_status is not None or has_times(filters):
        return True
    return isinstance(filters, NodeFilters) and filters.unchanged_since_ms is not None


def _workflow_number(connection: Connection, workflow_id: bytes) -> int | None:
    statement = text("SELECT no FROM workflows WHERE id = :id")
    number: int | None = connection.execute(statement, {"id": workflow_id}).scalar()
    return number


def _activity_of(connection: Connection, user_key: int, cause_key: int | None) -> int | None:
    """Key of the name that a cause's nodes have; None: none of this user's has failed with it."""
    statement = text("SELECT name_key FROM causes WHERE key = :key AND user_key = :user_key")
    name_key: int | None = connection.execute(statement, {"key": cause_key, "user_key": user_key}).scalar()
    return name_key


def all_states(connection: Connection) -> list[int]:
    """States that some node is in."""
    return list(connection.execute(text("SELECT state FROM node_states WHERE nodes > 0 ORDER BY state")).scalars())


_TIME_MIN = -(1 << 62)
_TIME_MAX = 1 << 62


def _query(
    source: Source, older_than: RowPosition | None, filters: WorkflowFilters | NodeFilters, user_id: bytes
) -> Query:
    values: dict[str, Any] = {"key": source.key, "user_key": states.user_key(user_id)}
    if filters.tid is not None:
        values["tid_key"] = states.tid_key(filters.tid)
    if filters.slot is not None:
        values["slot_name"] = states.name_key(user_id, filters.slot)
        if filters.slot_key is not None:
            values["pool_key"] = states.pool_key(ids.pool_id(user_id, filters.slot, filters.slot_key))
    if has_times(filters):
        values |= {
            "since": filters.status_start_ms if filters.status_start_ms is not None else _TIME_MIN,
            "till": filters.status_end_ms if filters.status_end_ms is not None else _TIME_MAX,
        }
    # Time never goes back in a partition: changes of a node come after its creation.
    unchanged_since = filters.unchanged_since_ms if isinstance(filters, NodeFilters) else None
    ends = [end for end in (filters.created_end_ms, filters.status_end_ms, unchanged_since) if end is not None]
    source.created_start, source.created_end = filters.created_start_ms, min(ends, default=None)
    bounds = ((">=", source.created_start), ("<=", source.created_end))
    membership = [f"ranges.created + 0 {comparison} {time}" for comparison, time in bounds if time is not None]
    return Query(
        source=source,
        older_than=older_than,
        skip=(filters.page - 1) * filters.per_page,
        count=filters.per_page,
        conditions=[],
        nodes=[],
        times=[],
        texts=[],
        membership=membership,
        table="nodes" if source.table == "nodes" else "workflows",
        values=values,
    )


# --- scan or candidates ----------------------------------------------------------------------------------------------


def _numbers(connection: Connection, query: Query) -> list[int]:
    """Row numbers of the page, in order."""
    if NEVER in query.conditions:
        return []
    if not query.conditions and query.table == query.source.table:
        return first_rows(connection, query.source, query.older_than, query.values, skip=query.skip, count=query.count)
    for candidates in (*query.nodes, *query.times):
        numbers = _at_most(connection, candidates, query.values, _FEW)
        if numbers is not None:
            return _sorted_candidates(connection, query, numbers)
    end = query.skip + query.count
    condition = " AND ".join(query.conditions)
    scan = Scan(connection, query.source, query.older_than, condition=condition, values=query.values, rows_wanted=end)
    scan.go_on(max(_FIRST_ROWS, end))
    # Counting the rest of a source narrowed by a time costs as much as scanning it.
    if not scan.done and query.conditions and (query.times or not scan.has_at_most(_MANY)):
        for candidates in (*query.nodes, *query.texts, *query.times):
            numbers = _at_most(connection, candidates, query.values, _MANY)
            if numbers is not None:
                return _sorted_candidates(connection, query, numbers)
    step = _ROWS_MORE
    while not scan.done:
        scan.go_on(max(step, end - len(scan.numbers)))
        step *= 2
    return scan.numbers[query.skip : end]


def _at_most(connection: Connection, candidates: Candidates, values: dict[str, Any], most: int) -> str | None:
    """The candidates' numbers, as a list or a statement; None: more than `most`."""
    statement = f"SELECT no FROM ({candidates.counted}) AS found LIMIT :most"  # noqa: S608 - as above
    numbers = list(connection.execute(text(statement), {**values, "most": most + 1}).scalars())
    if len(numbers) > most:
        return None
    # Trigrams take longest: they are searched once.
    return listed(sorted(set(numbers))) or "NULL" if candidates.numbers == candidates.counted else candidates.numbers


def _sorted_candidates(connection: Connection, query: Query, numbers: str) -> list[int]:
    """The page, once all its candidates are known."""
    # An expression on a column uses no index: the candidates are looked up, not the user's rows. Children are few.
    own = "" if query.source.column == "parent_id" else " + 0"
    conditions = [f"ranges.{query.source.column}{own} = :key", *query.membership, *query.conditions]
    if query.older_than is not None:
        conditions.append("(ranges.created + 0, ranges.id) < (:olds_created, :olds_id)")
        query.values |= {"olds_created": query.older_than.created, "olds_id": query.older_than.id}
    statement = (
        f"SELECT ranges.no FROM {query.table} AS ranges WHERE ranges.no IN ({numbers})"  # noqa: S608 - as above
        f" AND {' AND '.join(conditions)} ORDER BY {query.source.order} LIMIT :count OFFSET :skip"
    )
    values = {**query.values, "count": query.count, "skip": query.skip}
    return list(connection.execute(text(statement), values).scalars())


# --- rows ------------------------------------------------------------------------------------------------------------

_ROWS_AT_ONCE = 1_000


def nodes_by_number(connection: Connection, numbers: Sequence[int], user_key: int | None = None) -> list[NodeView]:
    """Nodes in the order of `numbers`; with `user_key` only that user's."""
    views: dict[int, NodeView] = {}
    for first in range(0, len(numbers), _ROWS_AT_ONCE):
        batch = listed(numbers[first : first + _ROWS_AT_ONCE])
        statement = (
            "SELECT n.no, n.id, n.created, n.seq, n.state, n.rest, n.user_key, b.metadata, b.body,"  # noqa: S608 - whole numbers
            " w.id AS workflow_id, w.subject, w.body AS workflow_body"
            " FROM nodes AS n JOIN node_bodies AS b ON b.no = n.no JOIN workflows AS w ON w.no = n.workflow_no"
            f" WHERE n.no IN ({batch})"
        )
        for row in connection.execute(text(statement)):
            if user_key is None or row.user_key == user_key:
                views[row.no] = rows.node_view(row)
    return [views[number] for number in numbers if number in views]


def workflows_by_number(
    connection: Connection, numbers: Sequence[int], user_key: int | None = None
) -> list[WorkflowView]:
    """Workflows in the order of `numbers`; with `user_key` only that user's."""
    views: dict[int, WorkflowView] = {}
    for first in range(0, len(numbers), _ROWS_AT_ONCE):
        batch = listed(numbers[first : first + _ROWS_AT_ONCE])
        statement = f"SELECT no, id, created, user_key, subject, body FROM workflows WHERE no IN ({batch})"  # noqa: S608 - whole numbers
        for row in connection.execute(text(statement)):
            if user_key is None or row.user_key == user_key:
                views[row.no] = rows.workflow_view(row)
    return [views[number] for number in numbers if number in views]
