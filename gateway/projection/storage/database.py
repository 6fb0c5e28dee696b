"""The projection's database: connections, the writer's lock, errors with remedies."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

#: Advisory lock of the follower on PostgreSQL; any number that nothing else of the database uses.
_LOCK = 0x6261636B62656174
_CACHE_KIBIBYTES = 64 * 1024
_BUSY_SECONDS = 10.0
READERS = 8
#: Every search is served by an index, and its page is short: PostgreSQL's estimate for a text within would have it scan
#: the table, and compiling a plan or starting a second process takes longer than the page.
_POSTGRESQL_OPTIONS = (
    "-c jit=off -c max_parallel_workers_per_gather=0 -c enable_seqscan=off -c random_page_cost=1.1 -c work_mem=32MB"
)


class ProjectionError(Exception):
    """The projection's database cannot be used; the text says why and what to do."""


class ProjectionUnavailable(ProjectionError):  # noqa: N818 - the name of the state, as callers know it
    """The projection is being built, or its database is not reachable now: ask again later."""


def parse_url(database_url: str) -> URL:
    """Address for SQLAlchemy: `postgres:` and `postgresql:` are served by psycopg."""
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError) as error:
        raise ProjectionError(
            # Without the text itself, which may have a password.
            f"The address of the projection's database, {database_url.partition('://')[0]!r}…, is none. "
            "What to do: give sqlite:///FILE or postgresql://USER@HOST/DATABASE."
        ) from error
    if url.drivername in {"postgres", "postgresql"}:
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in {"postgresql+psycopg", "sqlite"}:
        raise ProjectionError(
            f"{url.drivername} is not served. What to do: give sqlite:///FILE or postgresql://USER@HOST/DATABASE."
        )
    if url.drivername == "sqlite" and url.database in {None, "", ":memory:"}:
        raise ProjectionError("The projection needs a file. What to do: give sqlite:///FILE.")
    return url


def shown(url: URL) -> str:
    """Address without its password."""
    return url.render_as_string(hide_password=True)


def open_engine(url: URL) -> Engine:
    """Connection pool of the database; connects on first use."""
    if url.drivername == "sqlite":
        assert url.database is not None
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            url, pool_size=READERS, connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False}
        )
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(
        url,
        pool_size=READERS,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 5, "options": _POSTGRESQL_OPTIONS},
    )


def is_postgresql(connection: Connection) -> bool:
    """True for PostgreSQL, where a few words differ."""
    return connection.dialect.name == "postgresql"


def _set_up_sqlite(connection: Any, _: object) -> None:
    # Transactions begin and end where we say, tables included, not where the driver guesses.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    # Rows lost in a crash of the machine are read from the changelog again.
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")
    cursor.execute("PRAGMA mmap_size = 1073741824")
    cursor.execute("PRAGMA temp_store = MEMORY")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    statement = connection.get_execution_options().get("sqlite_begin", "BEGIN")
    connection.exec_driver_sql(statement)


@contextmanager
def begin_writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that reads and then writes.

    SQLite waits for its turn when it begins. Of one that has begun with a reading it refuses to write ("database is
    locked"), at once, where another one has written since.
    """
    with engine.connect().execution_options(sqlite_begin="BEGIN IMMEDIATE") as connection, connection.begin():
        yield connection


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn the library's errors into ours."""
    try:
        yield
    except OperationalError as error:
        raise ProjectionUnavailable(
            f"The database {shown(url)} cannot be used now: {_reason(error)} "
            "What to do: see that it runs and can be reached."
        ) from error
    except SQLAlchemyError as error:
        raise ProjectionError(f"The database {shown(url)} fails: {_reason(error)}") from error


def _reason(error: SQLAlchemyError) -> str:
    origin = error.orig if isinstance(error, DBAPIError) else error
    return str(origin).strip().splitlines()[0] if str(origin).strip() else type(origin).__name__


class Writer:
    """The one writing connection, held by the follower."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._file: IO[str] | None = None
        self.connection: Connection | None = None

    def acquire(self) -> Connection | None:
        """The connection; None: another process follows."""
        if self.connection is not None:
            return self.connection
        if self._engine.dialect.name == "sqlite":
            return self._acquire_file()
        connection = self._engine.connect()
        is_locked = connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}).scalar()
        connection.commit()
        if not is_locked:
            connection.close()
            return None
        # Rows lost in a crash of the database are read from the changelog again.
        connection.execute(text("SET synchronous_commit = off"))
        connection.commit()
        self.connection = connection
        return connection

    def _acquire_file(self) -> Connection | None:
        path = f"{self._engine.url.database}.lock"
        file = Path(path).open("w", encoding="ascii")  # noqa: SIM115 - it is held as long as we follow
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        self._file = file
        self.connection = self._engine.connect().execution_options(sqlite_begin="BEGIN IMMEDIATE")
        driver: Any = self.connection.connection.driver_connection
        # An index that is made is sorted: of millions of rows that is no matter for the memory.
        driver.execute("PRAGMA temp_store = FILE")
        # Beside the database, where there is room for it: the system's folder may be small, or in memory.
        folder = str(Path(path).parent.absolute()).replace("'", "''")
        driver.execute(f"PRAGMA temp_store_directory = '{folder}'")
        return self.connection

    def release(self) -> None:
        """Let another process follow."""
        if self.connection is not None:
            # The lock belongs to the session: the connection must not return to the pool with it.
            self.connection.invalidate()
            self.connection.close()
            self.connection = None
        if self._file is not None:
            self._file.close()
            self._file = None
