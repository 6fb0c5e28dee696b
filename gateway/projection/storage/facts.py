"""What the projection says of itself: whether it is whole, of which topic, and how far each partition was followed."""

from __future__ import annotations

import time

import msgspec
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DBAPIError

from backbeat.gateway.projection.following.statements import Statements
from backbeat.gateway.projection.storage import tables


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of the table `facts`."""

    schema_version: int = 0
    #: Kafka's id of the changelog topic
    topic_id: str = ""
    #: raised with every building anew
    generation: int = 0
    #: what an operator asked for; above `generation`: to be built anew
    wanted: int = 0
    #: whether it has once come to the end that the changelog had when its building began
    whole: bool = False
    #: when it was last known to be up to date, milliseconds since the epoch
    current_at: int = 0


def read_facts(connection: Connection) -> Facts:
    """What the projection says of itself; of one that is not there: the defaults."""
    if not tables.exist(connection):
        return Facts()
    return read_known_facts(connection)


def read_known_facts(connection: Connection) -> Facts:
    """The same where the tables are known to be there."""
    found = dict(connection.execute(_SELECT).all())
    return msgspec.convert(found, Facts, strict=False)


_SELECT = select(tables.facts.c.name, tables.facts.c.value)


def put_facts(statements: Statements, **changes: object) -> None:
    """Write some of them."""
    statements.run(
        statements.put_facts,
        [{"name": name, "value": str(int(v)) if isinstance(v, bool) else str(v)} for name, v in changes.items()],
    )


def read_positions(connection: Connection) -> dict[int, int]:
    """Partition -> the next offset to read."""
    return dict(connection.execute(select(tables.positions.c.partition, tables.positions.c.next_offset)).all())


def put_positions(statements: Statements, positions: dict[int, int]) -> None:
    """Write how far partitions were followed: in the transaction of what was read."""
    rows = [{"partition": number, "next_offset": offset} for number, offset in sorted(positions.items())]
    statements.run(statements.put_positions, rows)


def count_rows(connection: Connection) -> dict[str, int]:
    """How many rows the tables of a projection have, by what they are."""
    counted = (tables.workflows, tables.nodes, tables.status_changes, tables.waiting)
    return {table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in counted}


def ask_for_rebuild(connection: Connection) -> int:
    """Have whoever follows build it anew; the generation that it will be. The tables must be there."""
    facts = read_known_facts(connection)
    wanted = max(facts.generation, facts.wanted) + 1
    put_facts(Statements(connection), wanted=wanted)
    return wanted


def build_anew(connection: Connection, topic_id: str) -> Facts:
    """Drop whatever there is and begin with empty tables."""
    try:
        before = read_facts(connection)
    except (DBAPIError, msgspec.ValidationError):  # Of a version that we cannot read: it goes.
        before = Facts()
    generation = max(before.generation + 1, before.wanted)
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
    """Have the database count its rows: its plans are guesses otherwise."""
    connection.execute(text("ANALYZE"))
