"""Rows of a search in the order of its pages, read from indexes: merged, filtered and cut without a scan of the rest.

A *source* is one or more index ranges that lie in the order of the pages, (created, id): all rows of a user or of a
name, or one range for each wanted state. The database merges the ranges as it reads, so the first rows of a hundred
ranges cost as much as a hundred look-ups.

Filters that no range knows (a text within, a time of a change) are looked at row by row, some thousand rows at a time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, text

#: More ranges than this are read as one and sorted.
_RANGES_MAX = 250


class Place(NamedTuple):
    """Where a row stands in the order of pages."""

    created: int
    id: bytes


class Source(msgspec.Struct, kw_only=True):
    """Index ranges in the order of pages."""

    table: str
    #: the column of the row's number
    number: str
    #: `user_key` or `name_key`
    column: str
    key: int
    #: the wanted states; null: the ranges do not know states
    states: list[int] | None = None
    #: what else holds for every row, and stands in the index
    also: str = ""
    newest_first: bool = False
    #: PostgreSQL merges ranges that say their order; SQLite merges by itself, and would sort those
    ranges_are_ordered: bool

    @property
    def order(self) -> str:
        """The order of pages."""
        return "created DESC, id DESC" if self.newest_first else "created, id"

    @property
    def backwards(self) -> str:
        """The other way round."""
        return "created, id" if self.newest_first else "created DESC, id DESC"

    def rows(self, after: Place | None, olds: Place | None) -> tuple[str, dict[str, Any]]:
        """(created, id, no) of the rows behind a place and older than another; not in order yet."""
        conditions = [f"{self.column} = :key"]
        values: dict[str, Any] = {"key": self.key}
        if self.also:
            conditions.append(self.also)
        behind = "<" if self.newest_first else ">"
        for name, place, comparison in (("after", after, behind), ("olds", olds, "<")):
            if place is not None:
                # The first half is what SQLite finds the place in the index by.
                conditions.append(f"created {comparison}= :{name}_created")
                conditions.append(f"(created, id) {comparison} (:{name}_created, :{name}_id)")
                values |= {f"{name}_created": place.created, f"{name}_id": place.id}
        where = " AND ".join(conditions)
        begin = f"SELECT created, id, {self.number} AS no FROM {self.table} WHERE {where}"  # noqa: S608 - our own words and whole numbers
        if self.states is None:
            return begin, values
        if len(self.states) > _RANGES_MAX:
            return f"{begin} AND state IN ({', '.join(map(str, self.states))})", values
        if self.ranges_are_ordered and len(self.states) > 1:
            return " UNION ALL ".join(
                f"({begin} AND state = {state} ORDER BY {self.order})" for state in self.states
            ), values
        return " UNION ALL ".join(f"{begin} AND state = {state}" for state in self.states), values


def first_rows(
    connection: Connection, source: Source, olds: Place | None, values: dict[str, Any], *, skip: int, count: int
) -> list[int]:
    """The numbers of a page of a source, in order, without another filter."""
    rows, places = source.rows(None, olds)
    statement = f"{rows} ORDER BY {source.order} LIMIT :count OFFSET :skip"
    found = connection.execute(text(statement), {**values, **places, "count": count, "skip": skip})
    return [row.no for row in found]


class Scan:
    """Goes through a source in order, some rows at a time, and keeps those for which a condition holds."""

    def __init__(
        self,
        connection: Connection,
        source: Source,
        olds: Place | None,
        *,
        condition: str,
        values: dict[str, Any],
        wanted: int,
    ) -> None:
        self._connection = connection
        self._source = source
        self._olds = olds
        self._condition = condition
        self._values = values
        self._wanted = wanted
        self._after: Place | None = None
        #: the numbers of the rows that are kept, in order
        self.found: list[int] = []
        #: whether there are as many as wanted, or no more
        self.done = False

    def go_on(self, count: int) -> None:
        """Go through so many rows more."""
        ranges, places = self._source.rows(self._after, self._olds)
        order, backwards = self._source.order, self._source.backwards
        # One pass over the ranges: what is kept of the rows, and the last of them, where the next pass begins.
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
        values = {**self._values, **places, "count": count, "wanted": self._wanted - len(self.found)}
        found = self._connection.execute(text(statement), values).all()
        kept = [row for row in found if not row.passed]
        last = next((row for row in found if row.passed), None)
        if last is not None:
            self._after = Place(last.created, last.id)
        # One row may stand in several ranges: its repeats have the same place, so no other pass has them.
        self.found += [row.no for row in sorted(kept, key=_place, reverse=self._source.newest_first)]
        self.done = last is None or last.passed < count or len(self.found) >= self._wanted

    def has_at_most(self, count: int) -> bool:
        """Whether no more than so many rows are left."""
        ranges, places = self._source.rows(self._after, self._olds)
        statement = f"SELECT count(*) FROM (SELECT no FROM ({ranges}) AS ranges LIMIT :count) AS counted"  # noqa: S608 - as above
        values = {**self._values, **places, "count": count + 1}
        counted: int = self._connection.execute(text(statement), values).scalar_one()
        return counted <= count


def _place(row: Any) -> tuple[int, bytes]:
    return row.created, row.id
