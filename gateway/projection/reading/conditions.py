"""Filters as conditions of a query: on rows, on a node of a workflow, on a status change, on a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection

from backbeat.gateway.projection.reading.filters import NodeFilters, WorkflowFilters
from backbeat.gateway.projection.reading.grams import METADATA, SUBJECTS, is_nowhere
from backbeat.gateway.projection.reading.ordered import RowPosition, Source
from backbeat.gateway.projection.storage import states
from backbeat.gateway.projection.storage.database import is_postgresql

_TRIGRAM = 3
#: A condition that no row meets.
NEVER = "1 = 0"
#: Trigrams of a long text that are enough to find its few candidates.
_TRIGRAMS_MAX = 10


class Candidates(msgspec.Struct, frozen=True):
    """All rows that can be on a page, from the index of one condition."""

    #: Statement for their numbers, perhaps with repeats, and with some that do not match.
    numbers: str
    #: Statement with at least as many rows that is quick to count.
    counted: str


class Query(msgspec.Struct, kw_only=True):
    """A search as a database query."""

    source: Source
    older_than: RowPosition | None
    skip: int
    count: int
    #: On a row named `ranges`, with its number `no`.
    conditions: list[str]
    #: Candidates by a node, by a status change, and by a text.
    nodes: list[Candidates]
    times: list[Candidates]
    texts: list[Candidates]
    #: Like `conditions`: those of the source's ranges, for rows from elsewhere.
    membership: list[str]
    #: Table of the candidates' numbers.
    table: str
    values: dict[str, Any]


def has_times(filters: WorkflowFilters | NodeFilters) -> bool:
    """True where a time of a status change is asked for."""
    return filters.status_start_ms is not None or filters.status_end_ms is not None


def listed(numbers: Sequence[int]) -> str:
    """Numbers as a list of SQL."""
    return ", ".join(map(str, numbers))


def change_condition(filters: WorkflowFilters | NodeFilters) -> str:
    """Condition on a status change `c`."""
    codes = range(states.CODES) if filters.past_status is None else states.codes_of(filters.past_status)
    return f"c.code IN ({listed(codes)}) AND c.at >= :since AND c.at <= :till"


def narrow(query: Query, filters: NodeFilters, workflow_no: int) -> None:
    """Read the range of the narrowest filter that has one; what the others ask is asked of each row of it."""
    at_pool = f"ranges.pool_key IS NOT NULL{'' if filters.slot_key is None else ' AND ranges.pool_key + 0 = :pool_key'}"
    # In the order in which they are narrow, as a rule; with what is asked of a row where another one's range is read.
    ranges: list[tuple[str, int | bytes, str]] = []
    if filters.parent_id is not None:
        ranges.append(("parent_id", filters.parent_id, ""))
    if filters.tid is not None:
        ranges.append(("tid_key", query.values["tid_key"], "ranges.tid_key + 0 = :tid_key"))
    if filters.slot is not None:
        ranges.append(("name_key", query.values["slot_name"], f"ranges.name_key + 0 = :slot_name AND {at_pool}"))
    if filters.workflow_id is not None:
        query.values["workflow_no"] = workflow_no
        ranges.append(("workflow_no", workflow_no, "ranges.workflow_no + 0 = :workflow_no"))
    if not ranges:
        return
    source = query.source
    if source.states is not None:
        source.also.append(f"ranges.state + 0 IN ({listed(source.states)})")
    query.values["own_key"] = source.key
    source.also.append(f"ranges.{source.column} + 0 = :own_key")
    (source.column, source.key, _), *others = ranges
    if source.column == "name_key":
        source.also.append(at_pool)
    source.also += [condition for _, _, condition in others]
    source.states = None
    query.values["key"] = source.key
    query.membership += source.also


def add_a_node(query: Query, filters: WorkflowFilters, wanted_states: list[int] | None) -> None:
    """Add: one node of the workflow is in a wanted state, had the wanted change, was made so, waits for the slot."""
    has_statuses = filters.current_status is not None or filters.past_status is not None
    state_condition = f" AND n.state + 0 IN ({listed(wanted_states or ())})" if has_statuses else ""
    wanted = ["n.workflow_no = ranges.no"]
    for is_wanted, column, condition in (
        (filters.tid is not None, "tid_key", "n.tid_key{0} = :tid_key"),
        (filters.slot is not None, "pool_key", "n.name_key{0} = :slot_name AND n.pool_key IS NOT NULL"),
    ):
        if is_wanted:
            at_pool = " AND n.pool_key + 0 = :pool_key" if column == "pool_key" and filters.slot_key is not None else ""
            wanted.append(condition.format(" + 0") + at_pool)
            numbers = f"SELECT DISTINCT n.workflow_no AS no FROM nodes AS n WHERE {condition.format('')}{at_pool}"  # noqa: S608 - as above
            query.nodes.append(Candidates(numbers, numbers))
    if not has_times(filters):
        query.conditions.append(f"EXISTS (SELECT 1 FROM nodes AS n WHERE {' AND '.join(wanted)}{state_condition})")  # noqa: S608 - as above
        return
    change = change_condition(filters)
    query.conditions.append(
        "EXISTS (SELECT 1 FROM nodes AS n JOIN status_changes AS c ON c.node_no = n.no"  # noqa: S608 - as above
        f" WHERE {' AND '.join(wanted)} AND n.last_at >= :since{state_condition} AND {change})"
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
    query.times.append(Candidates(workflows, changes))


def add_cause(query: Query, cause_key: int) -> None:
    """Add: the node has failed with this cause."""
    query.values["cause_key"] = cause_key
    query.conditions.append(
        "EXISTS (SELECT 1 FROM failed_nodes AS f WHERE f.node_no = ranges.no AND f.cause_key + 0 = :cause_key)"
    )
    numbers = "SELECT f.node_no AS no FROM failed_nodes AS f WHERE f.cause_key = :cause_key"
    query.nodes.append(Candidates(numbers, numbers))


class Texts(msgspec.Struct, frozen=True):
    """Table of texts, and SQLite's index of their trigrams."""

    table: str
    column: str
    index: str
    kind: int


METADATA_TEXTS = Texts("node_bodies", "metadata", "node_texts", METADATA)
SUBJECT_TEXTS = Texts("workflows", "subject", "workflow_texts", SUBJECTS)


def add_text(connection: Connection, query: Query, needle: str, texts: Texts) -> None:
    """Add: the needle is contained in a text."""
    is_sqlite = not is_postgresql(connection)
    table, column, index = texts.table, texts.column, texts.index
    if "\0" in needle or any("\ud800" <= letter <= "\udfff" for letter in needle):
        # JSON texts never have these unescaped, and neither database takes them.
        query.conditions.append(NEVER)
        return
    if is_nowhere(connection, texts.kind, needle):
        query.conditions.append(NEVER)
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
        partial = " AND metadata <> '{}'" if texts is METADATA_TEXTS else ""
        numbers = f"SELECT no FROM {table} WHERE {column} LIKE :pattern{partial}"  # noqa: S608 - as above
    query.texts.append(Candidates(numbers, numbers))


def _trigrams(needle: str) -> list[str]:
    trigrams = list(dict.fromkeys(needle[at : at + _TRIGRAM] for at in range(len(needle) - _TRIGRAM + 1)))
    step = -(-len(trigrams) // _TRIGRAMS_MAX)
    return trigrams[::step]


def _quoted(trigram: str) -> str:
    return '"' + trigram.replace('"', '""') + '"'
