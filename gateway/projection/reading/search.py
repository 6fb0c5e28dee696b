"""Searches (behaviour document, section 5): from filters to index ranges, conditions and candidates.

- user or name, and statuses without a time: merged index ranges (`ordered`, `states`). Exact for any combination.
- a text within, a time of a change: conditions, checked row by row along those ranges. That is quick where many rows
  match. Where few do, they are *candidates* of an index of their own (trigrams; times of changes), sorted.

The better way is unknown beforehand, so both are tried in turn, each with a bound, until one has the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from backbeat.gateway.projection.reading.filters import NodeFilters, WorkflowFilters
from backbeat.gateway.projection.reading.grams import METADATA, SUBJECTS, is_nowhere
from backbeat.gateway.projection.reading.ordered import RowPosition, Scan, Source, first_rows
from backbeat.gateway.projection.storage import rows, states
from backbeat.gateway.projection.storage.database import is_postgresql
from backbeat.schemas.messages.views import NodeView, WorkflowView

_TRIGRAM = 3
#: A condition that no row meets.
_NEVER = "1 = 0"
#: Trigrams of a long text that are enough to find its few candidates.
_TRIGRAMS_MAX = 10
_FIRST_ROWS = 500
#: Candidates that are looked up before anything else is tried.
_FEW = 2_000
#: Candidates, or rows of a user or name, that can be looked up one by one.
_MANY = 25_000
_ROWS_MORE = 10_000


class _Candidates(msgspec.Struct, frozen=True):
    """All rows that can be on a page, from the index of one condition."""

    #: Statement for their numbers, perhaps with repeats, and with some that do not match.
    numbers: str
    #: Statement with at least as many rows that is quick to count.
    counted: str


class _Query(msgspec.Struct, kw_only=True):
    """A search as a database query."""

    source: Source
    older_than: RowPosition | None
    skip: int
    count: int
    #: On a row named `ranges`, with its number `no`.
    conditions: list[str]
    #: Candidates by a status change, and by a text.
    times: list[_Candidates]
    texts: list[_Candidates]
    #: Like `conditions`: those of the source's ranges, for rows from elsewhere.
    membership: list[str]
    #: Table of the candidates' numbers.
    table: str
    values: dict[str, Any]


def search_nodes(connection: Connection, user_id: bytes, filters: NodeFilters) -> list[NodeView]:
    """A page of the user's nodes, oldest first."""
    user_key = states.user_key(user_id)
    page = _prepare(connection, "nodes", user_id, filters)
    if page is None:
        return []
    older_than, wanted_states = page
    source = Source(
        table="nodes",
        number="no",
        column="user_key" if filters.name is None else "name_key",
        key=user_key if filters.name is None else states.name_key(user_id, filters.name),
        states=wanted_states,
        newest_first=filters.newest_first,
        ranges_are_ordered=is_postgresql(connection),
    )
    query = _query(source, older_than, filters, user_key)
    if wanted_states is not None:
        query.membership.append(f"ranges.state IN ({_listed(wanted_states)})")
    if filters.metadata_contains:
        _add_text(connection, query, filters.metadata_contains, _METADATA)
    if _has_times(filters):
        # Time never goes back in a partition: changes of a node come after its creation.
        source.also = "last_at >= :since AND created <= :till"
        change = _change(filters)
        query.conditions.append(
            f"EXISTS (SELECT 1 FROM status_changes AS c WHERE c.node_no = ranges.no AND {change})"  # noqa: S608 - our own words and whole numbers
        )
        times = f"SELECT c.node_no AS no FROM status_changes AS c WHERE c.user_key = :user_key AND {change}"  # noqa: S608 - as above
        query.times.append(_Candidates(times, times))
    return nodes_by_number(connection, _numbers(connection, query), user_key)


def search_workflows(connection: Connection, user_id: bytes, filters: WorkflowFilters) -> list[WorkflowView]:
    """A page of the user's workflows that have nodes, newest first."""
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
        also="has_nodes = 1" if wanted_states is None else "",
        newest_first=True,
        ranges_are_ordered=is_postgresql(connection),
    )
    query = _query(source, older_than, filters, user_key)
    query.membership.append("ranges.has_nodes = 1")
    if wanted_states is not None:
        query.membership.append(
            "EXISTS (SELECT 1 FROM workflow_states AS s WHERE s.workflow_no = ranges.no"  # noqa: S608 - as above
            f" AND s.state IN ({_listed(wanted_states)}))"
        )
    if filters.subject_contains:
        _add_text(connection, query, filters.subject_contains, _SUBJECTS)
    if _has_times(filters):
        assert wanted_states is not None
        source.also = "created <= :till"
        _add_change_of_a_node(query, filters, wanted_states)
    return workflows_by_number(connection, _numbers(connection, query), user_key)


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
    if filters.current_status is not None or filters.past_status is not None or _has_times(filters):
        wanted_states = states.matching(all_states(connection), filters.current_status, filters.past_status)
        if not wanted_states:
            return None
    return older_than, wanted_states


def all_states(connection: Connection) -> list[int]:
    """States that some node is in."""
    return list(connection.execute(text("SELECT state FROM node_states WHERE nodes > 0 ORDER BY state")).scalars())


def _query(
    source: Source, older_than: RowPosition | None, filters: WorkflowFilters | NodeFilters, user_key: int
) -> _Query:
    values: dict[str, Any] = {"key": source.key, "user_key": user_key}
    if _has_times(filters):
        values |= {
            "since": filters.status_start_ms if filters.status_start_ms is not None else _TIME_MIN,
            "till": filters.status_end_ms if filters.status_end_ms is not None else _TIME_MAX,
        }
    return _Query(
        source=source,
        older_than=older_than,
        skip=(filters.page - 1) * filters.per_page,
        count=filters.per_page,
        conditions=[],
        times=[],
        texts=[],
        membership=[],
        table="nodes" if source.table == "nodes" else "workflows",
        values=values,
    )


_TIME_MIN = -(1 << 62)
_TIME_MAX = 1 << 62


def _has_times(filters: WorkflowFilters | NodeFilters) -> bool:
    return filters.status_start_ms is not None or filters.status_end_ms is not None


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


# --- conditions ------------------------------------------------------------------------------------------------------


def _change(filters: WorkflowFilters | NodeFilters) -> str:
    """Condition on a status change `c`."""
    codes = range(states.CODES) if filters.past_status is None else states.codes_of(filters.past_status)
    return f"c.code IN ({_listed(codes)}) AND c.at >= :since AND c.at <= :till"


def _add_change_of_a_node(query: _Query, filters: WorkflowFilters, wanted_states: list[int]) -> None:
    """Add: one node of the workflow is in a wanted state and had the wanted change."""
    change = _change(filters)
    has_statuses = filters.current_status is not None or filters.past_status is not None
    state_condition = f" AND n.state + 0 IN ({_listed(wanted_states)})" if has_statuses else ""
    query.conditions.append(
        "EXISTS (SELECT 1 FROM nodes AS n JOIN status_changes AS c ON c.node_no = n.no"  # noqa: S608 - as above
        f" WHERE n.workflow_no = ranges.no AND n.last_at >= :since{state_condition} AND {change})"
    )
    # Nodes that another user runs have an index of their own.
    columns = ("user_key", "owner_key")
    workflows = " UNION ALL ".join(
        "SELECT n.workflow_no AS no FROM status_changes AS c JOIN nodes AS n ON n.no = c.node_no"  # noqa: S608 - as above
        f" WHERE c.{column} = :user_key AND {change}{state_condition}"
        for column in columns
    )
    changes = " UNION ALL ".join(
        f"SELECT c.node_no AS no FROM status_changes AS c WHERE c.{column} = :user_key AND {change}"  # noqa: S608 - as above
        for column in columns
    )
    query.times.append(_Candidates(workflows, changes))


class _Texts(msgspec.Struct, frozen=True):
    """Table of texts, and SQLite's index of their trigrams."""

    table: str
    column: str
    index: str
    kind: int


_METADATA = _Texts("node_bodies", "metadata", "node_texts", METADATA)
_SUBJECTS = _Texts("workflows", "subject", "workflow_texts", SUBJECTS)


def _add_text(connection: Connection, query: _Query, needle: str, texts: _Texts) -> None:
    """Add: the needle is contained in a text."""
    is_sqlite = not is_postgresql(connection)
    table, column, index = texts.table, texts.column, texts.index
    if "\0" in needle or any("\ud800" <= letter <= "\udfff" for letter in needle):
        # JSON texts never have these unescaped, and neither database takes them.
        query.conditions.append(_NEVER)
        return
    if is_nowhere(connection, texts.kind, needle):
        query.conditions.append(_NEVER)
        return
    position = "instr" if is_sqlite else "strpos"
    query.conditions.append(f"(SELECT {position}(t.{column}, :needle) FROM {table} AS t WHERE t.no = ranges.no) > 0")  # noqa: S608 - as above
    query.values["needle"] = needle
    if len(needle) < _TRIGRAM:
        return
    if is_sqlite:
        # Without positions the index has no phrases: all trigrams must occur, anywhere.
        query.values["trigrams"] = " AND ".join(_quoted(trigram) for trigram in _trigrams(needle))
        numbers = f"SELECT rowid AS no FROM {index} WHERE {index} MATCH :trigrams"  # noqa: S608 - as above
    else:
        literal = needle.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        query.values["pattern"] = f"%{literal}%"
        partial = " AND metadata <> '{}'" if texts is _METADATA else ""
        numbers = f"SELECT no FROM {table} WHERE {column} LIKE :pattern{partial}"  # noqa: S608 - as above
    query.texts.append(_Candidates(numbers, numbers))


def _trigrams(needle: str) -> list[str]:
    trigrams = list(dict.fromkeys(needle[at : at + _TRIGRAM] for at in range(len(needle) - _TRIGRAM + 1)))
    step = -(-len(trigrams) // _TRIGRAMS_MAX)
    return trigrams[::step]


def _quoted(trigram: str) -> str:
    return '"' + trigram.replace('"', '""') + '"'


# --- scan or candidates ----------------------------------------------------------------------------------------------


def _numbers(connection: Connection, query: _Query) -> list[int]:
    """Row numbers of the page, in order."""
    if _NEVER in query.conditions:
        return []
    if not query.conditions and query.table == query.source.table:
        return first_rows(connection, query.source, query.older_than, query.values, skip=query.skip, count=query.count)
    for candidates in query.times:
        numbers = _at_most(connection, candidates, query.values, _FEW)
        if numbers is not None:
            return _sorted_candidates(connection, query, numbers)
    end = query.skip + query.count
    condition = " AND ".join(query.conditions)
    scan = Scan(connection, query.source, query.older_than, condition=condition, values=query.values, rows_wanted=end)
    scan.go_on(max(_FIRST_ROWS, end))
    # Counting the rest of a source narrowed by a time costs as much as scanning it.
    if not scan.done and query.conditions and (query.times or not scan.has_at_most(_MANY)):
        for candidates in (*query.texts, *query.times):
            numbers = _at_most(connection, candidates, query.values, _MANY)
            if numbers is not None:
                return _sorted_candidates(connection, query, numbers)
    step = _ROWS_MORE
    while not scan.done:
        scan.go_on(max(step, end - len(scan.numbers)))
        step *= 2
    return scan.numbers[query.skip : end]


def _at_most(connection: Connection, candidates: _Candidates, values: dict[str, Any], most: int) -> str | None:
    """The candidates' numbers, as a list or a statement; None: more than `most`."""
    statement = f"SELECT no FROM ({candidates.counted}) AS found LIMIT :most"  # noqa: S608 - as above
    numbers = list(connection.execute(text(statement), {**values, "most": most + 1}).scalars())
    if len(numbers) > most:
        return None
    # Trigrams take longest: they are searched once.
    return _listed(sorted(set(numbers))) or "NULL" if candidates.numbers == candidates.counted else candidates.numbers


def _sorted_candidates(connection: Connection, query: _Query, numbers: str) -> list[int]:
    """The page, once all its candidates are known."""
    # An expression on a column uses no index: the candidates are looked up, not the user's rows.
    conditions = [f"ranges.{query.source.column} + 0 = :key", *query.membership, *query.conditions]
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
        listed = _listed(numbers[first : first + _ROWS_AT_ONCE])
        statement = (
            "SELECT n.no, n.id, n.created, n.seq, n.state, n.rest, n.user_key, b.metadata, b.body,"  # noqa: S608 - whole numbers
            " w.id AS workflow_id, w.subject, w.body AS workflow_body"
            " FROM nodes AS n JOIN node_bodies AS b ON b.no = n.no JOIN workflows AS w ON w.no = n.workflow_no"
            f" WHERE n.no IN ({listed})"
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
        listed = _listed(numbers[first : first + _ROWS_AT_ONCE])
        statement = f"SELECT no, id, created, user_key, subject, body FROM workflows WHERE no IN ({listed})"  # noqa: S608 - whole numbers
        for row in connection.execute(text(statement)):
            if user_key is None or row.user_key == user_key:
                views[row.no] = rows.workflow_view(row)
    return [views[number] for number in numbers if number in views]
