"""Both databases, as the tests of the projection get them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from backbeat.compose.local import postgresql
from backbeat.gateway.projection.storage import facts, tables
from backbeat.gateway.projection.storage.database import open_engine, parse_url


@pytest.fixture(scope="package")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL that runs for as long as the tests do."""
    reason = postgresql.why_not()
    if reason is not None:
        pytest.skip(f"PostgreSQL: {reason}")
    with postgresql.postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path) -> str:
    """Each database in turn, empty."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'projection.sqlite'}"
    url = request.getfixturevalue("postgresql_url")
    engine = open_engine(parse_url(url))
    with engine.begin() as connection:
        tables.drop(connection)
    engine.dispose()
    return url


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """A connection to each database in turn, with the tables of a new projection."""
    engine = open_engine(parse_url(database_url))
    with engine.connect() as connection:
        with connection.begin():
            facts.build_anew(connection, "topic")
        yield connection
    engine.dispose()
