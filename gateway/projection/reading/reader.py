"""Reader of the tables: only once they are complete, and with one snapshot for each answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine

from backbeat.gateway.projection.following.follower import Progress
from backbeat.gateway.projection.storage import facts, tables
from backbeat.gateway.projection.storage.database import ProjectionUnavailable, explained, is_postgresql

_T = TypeVar("_T")


class TableReader:
    """Reader of one database, as far as a follower reports the tables complete."""

    def __init__(self, url: URL, engine: Engine, progress: Progress) -> None:
        self._url = url
        self._engine = engine
        self._progress = progress

    def read(self, query: Callable[[Connection], _T]) -> _T:
        """Result of `query` on the tables; blocks. ProjectionError: they are incomplete or cannot be reached."""
        if not self._progress.whole:
            # The tables may be of another topic or version: they are read once that was checked.
            raise ProjectionUnavailable(self._why_not_whole())
        with explained(self._url), self._engine.connect() as opened:
            connection = opened
            if is_postgresql(opened):
                # All statements of one answer see the same rows, as they do on SQLite.
                connection = opened.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                recorded = facts.read_facts(connection)
                if not recorded.whole or recorded.schema_version != tables.SCHEMA_VERSION:
                    raise ProjectionUnavailable(self._why_not_whole())
                return query(connection)

    def _why_not_whole(self) -> str:
        trouble = self._progress.trouble
        if trouble:
            return f"The search is not ready, and is not being made so at the moment: {trouble}"
        return "The search is being built from the changelog. What to do: ask again in a while."
