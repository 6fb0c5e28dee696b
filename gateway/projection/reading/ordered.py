"""Rows of a search in page order, read from indexes: merged, filtered and cut without a scan of the rest.

A *source* is one or more index ranges in page order, (created, id): all rows of a user or of a name, or one range for
each wanted state. The database merges the ranges as it reads, so the first rows of a hundred ranges cost as much as a
hundred look-ups.

Filters without a range (a text within, a time of a change) are checked row by row, some thousand rows at a time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, text

#: More ranges are read as one and sorted.
_RANGES_MAX = 250


class RowPosition(NamedTuple):
    """Position of a row in page order."""

    created: int
    id: bytes


class Source(msgspec.Struct, kw_only=True):
    """Index ranges in page order."""

    table: str
    #: Column of the row's number.
    number: str
    #: Column of the row's key: `user_key`, `name_key` or a narrower one.
    column: str
    key: int | bytes
    #: Wanted states; None: ranges without states.
    states: list[int] | None = None
    #: Conditions on every row, as `ranges`, where the index or the row has its columns.
    also: list[str] = msgspec.field(default_factory=list)
    #: Bounds of `created`, inclusive.
    created_start: int | None = None
    created_end: int | None = None
    newest_first: bool = False
    #: True for PostgreSQL, which merges ordered ranges; SQLite merges unordered ones, and would sort these.
    ranges_are_ordered: bool

    @property
    def order(self) -> str:
        """Page order."""
        return "created DESC, id DESC" if self.newest_first else "created, id"

    @property
    def backwards(self) -> str:
        """Reverse page order."""
        return "created, id" if self.newest_first else "created DESC, id DESC"

    def rows(self, after: RowPosition | None, older_than: RowPosition | None) -> tuple[str, dict[str, Any]]:
        """Query of (created, id, no) of rows behind one position and older than another, unordered; its values."""
        conditions = [f"{self.column} = :key", *self.also]
        values: dict[str, Any] = {"key": self.key}
        lowest, highest = [self.created_start], [self.created_end]
        comparison_behind = "<" if self.newest_first else ">"
        for name, position, comparison in (("after", after, comparison_behind), ("olds", older_than, "<")):
            if position is not None:
                (lowest if comparison == ">" else highest).append(position.created)
                conditions.append(f"(created, id) {comparison} (:{name}_created, :{name}_id)")
                values |= {f"{name}_created": position.created, f"{name}_id": position.id}
        # One bound on either side: by it SQLite finds the position in the index.
        for name, comparison, pick, bounds in (("lowest", ">=", max, lowest), ("highest", "<=", min, highest)):
            times = [bound for bound in bounds if bound is not None]
            if times:
                conditions.append(f"created {comparison} :{name}")
                values[name] = pick(times)
        where_clause = " AND ".join(conditions)
        range_query = f"SELECT created, id, {self.number} AS no FROM {self.table} AS ranges WHERE {where_clause}"  # noqa: S608 - our own words and whole numbers
        if self.states is None:
            return range_query, values
        if len(self.states) > _RANGES_MAX:
            return f"{range_query} AND state IN ({', '.join(map(str, self.states))})", values
        if self.ranges_are_ordered and len(self.states) > 1:
            return " UNION ALL ".join(
                f"({range_query} AND state = {state} ORDER BY {self.order})" for state in self.states
            ), values
        return " UNION ALL ".join(f"{range_query} AND state = {state}" for state in self.states), values


def first_rows(
    connection: Connection,
    source: Source,
    older_than: RowPosition | None,
    values: dict[str, Any],
    *,
    skip: int,
    count: int,
) -> list[int]:
    """Row numbers of a page of a source, in order, without further filters."""
    rows, position_values = source.rows(None, older_than)
    statement = f"{rows} ORDER BY {source.order} LIMIT :count OFFSET :skip"
    result = connection.execute(text(statement), {**values, **position_values, "count": count, "skip": skip})
    return [row.no for row in result]


class Scan:
    """Scan of a source in page order, some rows at a time, for rows that match a condition."""

    def __init__(
        self,
        connection: Connection,
        source: Source,
        older_than: RowPosition | None,
        *,
        condition: str,
        values: dict[str, Any],
        rows_wanted: int,
    ) -> None:
        self._connection = connection
        self._source = source
        self._older_than = older_than
        self._condition = condition
        self._values = values
        self._rows_wanted = rows_wanted
        self._after: RowPosition | None = None
        #: Numbers of matching rows, in order.
        self.numbers: list[int] = []
        #: True once there are as many as wanted, or no more rows.
        self.done = False

    def go_on(self, count: int) -> None:
        """Scan `count` more rows."""
        ranges, position_values = self._source.rows(self._after, self._older_than)
        order, backwards = self._source.order, self._source.backwards
        # A single pass over the ranges: the matching rows, and the last row, where the next pass begins.
        statement = f"""
            WITH passed AS MATERIALIZED ({ranges} ORDER BY {order} LIMIT :count)
            SELECT * FROM (
                SELECT DISTINCT created, id, no, 0 AS passed FROM passed AS ranges
                {"WHERE " + self._condition if self._condition else ""} ORDER BY {order} LIMIT :wanted
            ) AS kept
            UNION ALL
            SELECT * FROM (
                SELECT created, id, no, (SELECT count(*) FROM passed) FROM passed ORDER BY {backwards} LIMIT 1
            ) AS ended"""  # noqa: S608 - our own words and whole numbers
        values = {**self._values, **position_values, "count": count, "wanted": self._rows_wanted - len(self.numbers)}
        result = self._connection.execute(text(statement), values).all()
        matches = [row for row in result if not row.passed]
        last = next((row for row in result if row.passed), None)
        if last is not None:
            self._after = RowPosition(last.created, last.id)
        # A row may lie in several ranges: its repeats have the same position, so no other pass returns them.
        self.numbers += [row.no for row in sorted(matches, key=_position, reverse=self._source.newest_first)]
        self.done = last is None or last.passed < count or len(self.numbers) >= self._rows_wanted

    def has_at_most(self, count: int) -> bool:
        """True if at most `count` rows are left."""
        ranges, position_values = self._source.rows(self._after, self._older_than)
        statement = f"SELECT count(*) FROM (SELECT no FROM ({ranges}) AS ranges LIMIT :count) AS counted"  # noqa: S608 - as above
        values = {**self._values, **position_values, "count": count + 1}
        counted: int = self._connection.execute(text(statement), values).scalar_one()
        return counted <= count


def _position(row: Any) -> tuple[int, bytes]:
    return row.created, row.id
