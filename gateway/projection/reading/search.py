"""The searches (behaviour document, section 5): how filters become index ranges, conditions and candidates.

- user or name, and statuses without a time: index ranges, merged (`ordered`, `states`). Exact, whatever is asked.
- a text within, a time of a change: conditions, looked at row by row along those ranges. That is quick where many rows
  match. Where few do, they are *candidates* of an index of their own (trigrams; times of changes), sorted.

Nobody knows beforehand which it is, so both are tried in turn, each with a bound, until one has the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from backbeat.gateway.projection.reading.filters import NodeFilters, WorkflowFilters
from backbeat.gateway.projection.reading.grams import METADATA, SUBJECTS, is_nowhere
from backbeat.gateway.projection.reading.ordered import Place, Scan, Source, first_rows
from backbeat.gateway.projection.storage import rows, states
from backbeat.gateway.projection.storage.database import is_postgresql
from backbeat.schemas.messages.views import NodeView, WorkflowView

_TRIGRAM = 3
#: Holds for no row.
_NEVER = "1 = 0"
#: Of a long text, so many trigrams are enough to find the few that may have it.
_TRIGRAMS_MAX = 10
_FIRST_ROWS = 500
#: So many candidates are looked up sooner than anything else is tried.
_FEW = 2_000
#: So many, or so many rows of a user or name, can be looked up one by one.
_MANY = 25_000
_ROWS_MORE = 10_000


class _Candidates(msgspec.Struct, frozen=True):
    """All rows that can be on a page, by an index of what one condition asks for."""

    #: a statement that gives their numbers, perhaps some more than once, and some that do not match
    numbers: str
    #: a statement with at least as many rows, which are quick to count
    counted: str


class _Asked(msgspec.Struct, kw_only=True):
    """One search, as the database is asked."""

    source: Source
    olds: Place | None
    skip: int
    count: int
    #: on a row named `ranges`, with its number `no`
    conditions: list[str]
    #: by a status change, by a text
    times: list[_Candidates]
    texts: list[_Candidates]
    #: as `conditions`: what the source's ranges say, for rows that do not come from them
    membership: list[str]
    #: the table that candidates are numbers of
    table: str
    values: dict[str, Any]


def search_nodes(connection: Connection, user_id: bytes, filters: NodeFilters) -> list[NodeView]:
    """A page of the user's nodes, oldest first."""
    user_key = states.user_key(user_id)
    prepared = _prepare(connection, "nodes", user_id, filters)
    if prepared is None:
        return []
    olds, wanted = prepared
    source = Source(
        table="nodes",
        number="no",
        column="user_key" if filters.name is None else "name_key",
        key=user_key if filters.name is None else states.name_key(user_id, filters.name),
        states=wanted,
        ranges_are_ordered=is_postgresql(connection),
    )
    asked = _asked(source, olds, filters, user_key)
    if wanted is not None:
        asked.membership.append(f"ranges.state IN ({_listed(wanted)})")
    if filters.metadata_contains:
        _add_text(connection, asked, filters.metadata_contains, _METADATA)
    if _has_times(filters):
        # Time never goes back in a partition: what happened to a node happened after it was made.
        source.also = "last_at >= :since AND created <= :till"
        change = _change(filters)
        asked.conditions.append(
            f"EXISTS (SELECT 1 FROM status_changes AS c WHERE c.node_no = ranges.no AND {change})"  # noqa: S608 - our own words and whole numbers
        )
        times = f"SELECT c.node_no AS no FROM status_changes AS c WHERE c.user_key = :user_key AND {change}"  # noqa: S608 - as above
        asked.times.append(_Candidates(times, times))
    return nodes_by_number(connection, _numbers(connection, asked), user_key)


def search_workflows(connection: Connection, user_id: bytes, filters: WorkflowFilters) -> list[WorkflowView]:
    """A page of the user's workflows that have nodes, newest first."""
    user_key = states.user_key(user_id)
    prepared = _prepare(connection, "workflows", user_id, filters)
    if prepared is None:
        return []
    olds, wanted = prepared
    source = Source(
        table="workflows" if wanted is None else "workflow_states",
        number="no" if wanted is None else "workflow_no",
        column="user_key" if filters.name is None else "name_key",
        key=user_key if filters.name is None else states.name_key(user_id, filters.name),
        states=wanted,
        also="has_nodes = 1" if wanted is None else "",
        newest_first=True,
        ranges_are_ordered=is_postgresql(connection),
    )
    asked = _asked(source, olds, filters, user_key)
    asked.membership.append("ranges.has_nodes = 1")
    if wanted is not None:
        asked.membership.append(
            "EXISTS (SELECT 1 FROM workflow_states AS s WHERE s.workflow_no = ranges.no"  # noqa: S608 - as above
            f" AND s.state IN ({_listed(wanted)}))"
        )
    if filters.subject_contains:
        _add_text(connection, asked, filters.subject_contains, _SUBJECTS)
    if _has_times(filters):
        assert wanted is not None
        source.also = "created <= :till"
        _add_change_of_a_node(asked, filters, wanted)
    return workflows_by_number(connection, _numbers(connection, asked), user_key)


def _prepare(
    connection: Connection, table: str, user_id: bytes, filters: WorkflowFilters | NodeFilters
) -> tuple[Place | None, list[int] | None] | None:
    """The place that `last_id` stands for, and the wanted states; null: no row can match."""
    if filters.per_page <= 0 or filters.page <= 0:
        return None
    olds = None
    if filters.last_id is not None:
        found = connection.execute(
            text(f"SELECT created, id FROM {table} WHERE id = :id AND user_key = :user_key"),  # noqa: S608 - as above
            {"id": filters.last_id, "user_key": states.user_key(user_id)},
        ).first()
        if found is None:
            return None
        olds = Place(found.created, found.id)
    wanted = None
    if filters.current_status is not None or filters.past_status is not None or _has_times(filters):
        wanted = states.matching(all_states(connection), filters.current_status, filters.past_status)
        if not wanted:
            return None
    return olds, wanted


def all_states(connection: Connection) -> list[int]:
    """Every state that some node is in."""
    return list(connection.execute(text("SELECT state FROM node_states WHERE nodes > 0 ORDER BY state")).scalars())


def _asked(source: Source, olds: Place | None, filters: WorkflowFilters | NodeFilters, user_key: int) -> _Asked:
    values: dict[str, Any] = {"key": source.key, "user_key": user_key}
    if _has_times(filters):
        values |= {
            "since": filters.status_start_ms if filters.status_start_ms is not None else _TIME_MIN,
            "till": filters.status_end_ms if filters.status_end_ms is not None else _TIME_MAX,
        }
    return _Asked(
        source=source,
        olds=olds,
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
    """A status change `c` as it is wanted."""
    codes = range(states.CODES) if filters.past_status is None else states.codes_of(filters.past_status)
    return f"c.code IN ({_listed(codes)}) AND c.at >= :since AND c.at <= :till"


def _add_change_of_a_node(asked: _Asked, filters: WorkflowFilters, wanted: list[int]) -> None:
    """One same node of the workflow is in a wanted state and had the wanted change."""
    change = _change(filters)
    has_statuses = filters.current_status is not None or filters.past_status is not None
    is_wanted = f" AND n.state + 0 IN ({_listed(wanted)})" if has_statuses else ""
    asked.conditions.append(
        "EXISTS (SELECT 1 FROM nodes AS n JOIN status_changes AS c ON c.node_no = n.no"  # noqa: S608 - as above
        f" WHERE n.workflow_no = ranges.no AND n.last_at >= :since{is_wanted} AND {change})"
    )
    # Nodes that another user runs are in an index of their own.
    columns = ("user_key", "owner_key")
    workflows = " UNION ALL ".join(
        "SELECT n.workflow_no AS no FROM status_changes AS c JOIN nodes AS n ON n.no = c.node_no"  # noqa: S608 - as above
        f" WHERE c.{column} = :user_key AND {change}{is_wanted}"
        for column in columns
    )
    changes = " UNION ALL ".join(
        f"SELECT c.node_no AS no FROM status_changes AS c WHERE c.{column} = :user_key AND {change}"  # noqa: S608 - as above
        for column in columns
    )
    asked.times.append(_Candidates(workflows, changes))


class _Texts(msgspec.Struct, frozen=True):
    """Where texts are, and where SQLite has their trigrams."""

    table: str
    column: str
    index: str
    kind: int


_METADATA = _Texts("node_bodies", "metadata", "node_texts", METADATA)
_SUBJECTS = _Texts("workflows", "subject", "workflow_texts", SUBJECTS)


def _add_text(connection: Connection, asked: _Asked, needle: str, texts: _Texts) -> None:
    """The needle stands in a text."""
    is_sqlite = not is_postgresql(connection)
    table, column, index = texts.table, texts.column, texts.index
    if "\0" in needle or any("\ud800" <= letter <= "\udfff" for letter in needle):
        # No JSON text has these as they are, and neither database takes them.
        asked.conditions.append(_NEVER)
        return
    if is_nowhere(connection, texts.kind, needle):
        asked.conditions.append(_NEVER)
        return
    position = "instr" if is_sqlite else "strpos"
    asked.conditions.append(f"(SELECT {position}(t.{column}, :needle) FROM {table} AS t WHERE t.no = ranges.no) > 0")  # noqa: S608 - as above
    asked.values["needle"] = needle
    if len(needle) < _TRIGRAM:
        return
    if is_sqlite:
        # Without places in the index there are no phrases: all trigrams, wherever they stand.
        asked.values["trigrams"] = " AND ".join(_quoted(one) for one in _trigrams(needle))
        numbers = f"SELECT rowid AS no FROM {index} WHERE {index} MATCH :trigrams"  # noqa: S608 - as above
    else:
        literal = needle.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        asked.values["pattern"] = f"%{literal}%"
        partial = " AND metadata <> '{}'" if texts is _METADATA else ""
        numbers = f"SELECT no FROM {table} WHERE {column} LIKE :pattern{partial}"  # noqa: S608 - as above
    asked.texts.append(_Candidates(numbers, numbers))


def _trigrams(needle: str) -> list[str]:
    found = list(dict.fromkeys(needle[at : at + _TRIGRAM] for at in range(len(needle) - _TRIGRAM + 1)))
    step = -(-len(found) // _TRIGRAMS_MAX)
    return found[::step]


def _quoted(trigram: str) -> str:
    return '"' + trigram.replace('"', '""') + '"'


# --- the two ways ----------------------------------------------------------------------------------------------------


def _numbers(connection: Connection, asked: _Asked) -> list[int]:
    """The numbers of the page's rows, in order."""
    if _NEVER in asked.conditions:
        return []
    if not asked.conditions and asked.table == asked.source.table:
        return first_rows(connection, asked.source, asked.olds, asked.values, skip=asked.skip, count=asked.count)
    for candidates in asked.times:
        numbers = _at_most(connection, candidates, asked.values, _FEW)
        if numbers is not None:
            return _sorted_candidates(connection, asked, numbers)
    wanted = asked.skip + asked.count
    condition = " AND ".join(asked.conditions)
    scan = Scan(connection, asked.source, asked.olds, condition=condition, values=asked.values, wanted=wanted)
    scan.go_on(max(_FIRST_ROWS, wanted))
    # To count what is left of a source that a time narrows costs as much as to go through it.
    if not scan.done and asked.conditions and (asked.times or not scan.has_at_most(_MANY)):
        for candidates in (*asked.texts, *asked.times):
            numbers = _at_most(connection, candidates, asked.values, _MANY)
            if numbers is not None:
                return _sorted_candidates(connection, asked, numbers)
    more = _ROWS_MORE
    while not scan.done:
        scan.go_on(max(more, wanted - len(scan.found)))
        more *= 2
    return scan.found[asked.skip : wanted]


def _at_most(connection: Connection, candidates: _Candidates, values: dict[str, Any], most: int) -> str | None:
    """What gives the candidates' numbers, as a list or a statement; null: there are more."""
    statement = f"SELECT no FROM ({candidates.counted}) AS found LIMIT :most"  # noqa: S608 - as above
    found = list(connection.execute(text(statement), {**values, "most": most + 1}).scalars())
    if len(found) > most:
        return None
    # Trigrams take longest: they are gone through once.
    return _listed(sorted(set(found))) or "NULL" if candidates.numbers == candidates.counted else candidates.numbers


def _sorted_candidates(connection: Connection, asked: _Asked, numbers: str) -> list[int]:
    """The page, when all that can be on it are known."""
    # A column with something added is in no index: the candidates are looked up, not the user's rows.
    conditions = [f"ranges.{asked.source.column} + 0 = :key", *asked.membership, *asked.conditions]
    if asked.olds is not None:
        conditions.append("(ranges.created + 0, ranges.id) < (:olds_created, :olds_id)")
        asked.values |= {"olds_created": asked.olds.created, "olds_id": asked.olds.id}
    statement = (
        f"SELECT ranges.no FROM {asked.table} AS ranges WHERE ranges.no IN ({numbers})"  # noqa: S608 - as above
        f" AND {' AND '.join(conditions)} ORDER BY {asked.source.order} LIMIT :count OFFSET :skip"
    )
    values = {**asked.values, "count": asked.count, "skip": asked.skip}
    return list(connection.execute(text(statement), values).scalars())


# --- rows ------------------------------------------------------------------------------------------------------------

_ROWS_AT_ONCE = 1_000


def nodes_by_number(connection: Connection, numbers: Sequence[int], user_key: int | None = None) -> list[NodeView]:
    """The nodes, in the order of their numbers' list; with a user: only that user's."""
    found: dict[int, NodeView] = {}
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
                found[row.no] = rows.node_view(row)
    return [found[number] for number in numbers if number in found]


def workflows_by_number(
    connection: Connection, numbers: Sequence[int], user_key: int | None = None
) -> list[WorkflowView]:
    """The workflows, in the order of their numbers' list; with a user: only that user's."""
    found: dict[int, WorkflowView] = {}
    for first in range(0, len(numbers), _ROWS_AT_ONCE):
        listed = _listed(numbers[first : first + _ROWS_AT_ONCE])
        statement = f"SELECT no, id, created, user_key, subject, body FROM workflows WHERE no IN ({listed})"  # noqa: S608 - whole numbers
        for row in connection.execute(text(statement)):
            if user_key is None or row.user_key == user_key:
                found[row.no] = rows.workflow_view(row)
    return [found[number] for number in numbers if number in found]
