"""State of the projection as a whole: complete or not, its topic, and the offset of each partition."""

from __future__ import annotations

import time

import msgspec
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DBAPIError

from backbeat.gateway.projection.following.statements import Statements
from backbeat.gateway.projection.storage import tables
from backbeat.schemas.requests.decoding import prepare


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of the table `facts`."""

    schema_version: int = 0
    #: Kafka's id of the changelog topic.
    topic_id: str = ""
    #: Raised with every rebuild.
    generation: int = 0
    #: Generation that an operator requested; above `generation`: a rebuild is due.
    wanted: int = 0
    #: True once it has reached the changelog's end as of the start of its build.
    whole: bool = False
    #: Milliseconds since the epoch when it was last known to be up to date.
    current_at: int = 0


def read_facts(connection: Connection) -> Facts:
    """Facts of the projection; the defaults if there is none."""
    if not tables.exist(connection):
        return Facts()
    return read_known_facts(connection)


def read_known_facts(connection: Connection) -> Facts:
    """The same if the tables are known to exist."""
    values = dict(connection.execute(_SELECT).all())
    return msgspec.convert(values, Facts, strict=False)


# By threads of pages, too.
prepare(Facts)
_SELECT = select(tables.facts.c.name, tables.facts.c.value)


def put_facts(statements: Statements, **changes: object) -> None:
    """Write some of the facts."""
    statements.run(
        statements.put_facts,
        [
            {"name": name, "value": str(int(value)) if isinstance(value, bool) else str(value)}
            for name, value in changes.items()
        ],
    )


def read_positions(connection: Connection) -> dict[int, int]:
    """Next offset by partition."""
    return dict(connection.execute(select(tables.positions.c.partition, tables.positions.c.next_offset)).all())


def put_positions(statements: Statements, positions: dict[int, int]) -> None:
    """Write next offsets, in the transaction of the records before them."""
    rows = [{"partition": partition, "next_offset": offset} for partition, offset in sorted(positions.items())]
    statements.run(statements.put_positions, rows)


def count_rows(connection: Connection) -> dict[str, int]:
    """Number of rows by table."""
    counted_tables = (tables.workflows, tables.nodes, tables.status_changes, tables.waiting)
    return {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in counted_tables
    }


def ask_for_rebuild(connection: Connection) -> int:
    """Request a rebuild from the follower; the generation that it will be. The tables must exist."""
    facts = read_known_facts(connection)
    generation = max(facts.generation, facts.wanted) + 1
    put_facts(Statements(connection), wanted=generation)
    return generation


def build_anew(connection: Connection, topic_id: str) -> Facts:
    """Drop everything and start with empty tables."""
    try:
        old_facts = read_facts(connection)
    except (DBAPIError, msgspec.ValidationError):  # The tables of an unreadable version are dropped.
        old_facts = Facts()
    generation = max(old_facts.generation + 1, old_facts.wanted)
    tables.drop(connection)
    tables.create(connection)
    facts = Facts(
        schema_version=tables.SCHEMA_VERSION,
        topic_id=topic_id,
        generation=generation,
        wanted=generation,
        current_at=now_ms(),
    )
    put_facts(Statements(connection), **msgspec.structs.asdict(facts))
    return facts


def now_ms() -> int:
    """The host's time in milliseconds since the epoch."""
    return int(time.time() * 1000)


def analyze(connection: Connection) -> None:
    """Let the database count its rows: its plans are guesses otherwise."""
    connection.execute(text("ANALYZE"))
