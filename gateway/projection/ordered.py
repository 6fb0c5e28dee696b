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
_VERIFIED_AT_ONCE = 1_000


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

    @property
    def order(self) -> str:
        """The order of pages."""
        return "created DESC, id DESC" if self.newest_first else "created, id"

    @property
    def rows_of(self) -> str:
        """The table whose rows the numbers are of."""
        return "nodes" if self.table == "nodes" else "workflows"

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
        statement = f"{ranges} ORDER BY {self._source.order} LIMIT :count"
        rows = self._connection.execute(text(statement), {**self._values, **places, "count": count}).all()
        # One row may stand in several ranges: its repeats have the same place.
        numbers = list(dict.fromkeys(row.no for row in rows))
        for first in range(0, len(numbers), _VERIFIED_AT_ONCE):
            self.found += self._verified(numbers[first : first + _VERIFIED_AT_ONCE])
            if len(self.found) >= self._wanted:
                break
        self.done = len(rows) < count or len(self.found) >= self._wanted
        if rows:
            self._after = Place(rows[-1].created, rows[-1].id)

    def _verified(self, numbers: list[int]) -> list[int]:
        if not self._condition:
            return numbers
        statement = (
            f"SELECT ranges.no FROM {self._source.rows_of} AS ranges"  # noqa: S608 - our own words and whole numbers
            f" WHERE ranges.no IN ({', '.join(map(str, numbers))}) AND {self._condition}"
        )
        good = set(self._connection.execute(text(statement), self._values).scalars())
        return [number for number in numbers if number in good]

    def has_at_most(self, count: int) -> bool:
        """Whether no more than so many rows are left."""
        ranges, places = self._source.rows(self._after, self._olds)
        statement = f"SELECT count(*) FROM (SELECT no FROM ({ranges}) AS ranges LIMIT :count) AS counted"  # noqa: S608 - as above
        values = {**self._values, **places, "count": count + 1}
        counted: int = self._connection.execute(text(statement), values).scalar_one()
        return counted <= count
