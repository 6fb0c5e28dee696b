"""Tables of the projection, and the indexes of its searches, on SQLite and PostgreSQL (docs/explanation/projection.md).

Users and names are stored as 8 byte hashes (`states`), so that an index entry is some 40 bytes and a scan of one is
quick. Immutable fields of a node that are in no filter lie apart, in `node_bodies`: a status change rewrites a short
row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    inspect,
    text,
)
from sqlalchemy.exc import DBAPIError

logger = logging.getLogger(__name__)

#: Raised with every change of the tables or their contents: an older projection is rebuilt.
SCHEMA_VERSION = 4

metadata = MetaData()

# On SQLite an INTEGER primary key is the row's own number; BIGINT would be one more index.
_Number = BigInteger().with_variant(Integer(), "sqlite")

# SQLite's indexes hold the row's number anyway; PostgreSQL's include it, so that a page is cut without reading rows.


def _index_where(name: str, condition: str, *columns: str) -> Index:
    """Index of the rows for which a condition holds, in page order: the others cost it nothing."""
    where = text(condition)
    return Index(name, *columns, postgresql_include=["no"], sqlite_where=where, postgresql_where=where)


#: State of the projection: schema version, id of the topic, generation, whether it is complete.
facts = Table("facts", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

#: Next offset of each partition, written in the transaction of the records before it.
positions = Table(
    "positions",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
)

workflows = Table(
    "workflows",
    metadata,
    Column("no", _Number, primary_key=True, autoincrement=False),
    Column("id", LargeBinary, nullable=False),
    Column("user_key", BigInteger, nullable=False),
    Column("name_key", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("has_nodes", SmallInteger, nullable=False),
    #: Nodes with a smaller seq are deactivated, whatever their records say.
    Column("watermark", Integer, nullable=False),
    #: Number of cancels, resets and deactivations in progress.
    Column("sweeps", Integer, nullable=False),
    Column("subject", Text, nullable=False),
    #: msgpack of rows.WorkflowBody
    Column("body", LargeBinary, nullable=False),
    Index("workflows_id", "id", unique=True),
    Index("workflows_of_user", "user_key", "has_nodes", "created", "id", postgresql_include=["no"]),
    Index("workflows_of_name", "name_key", "has_nodes", "created", "id", postgresql_include=["no"]),
    # Room for the row's next version beside it: no index need know of it then.
    postgresql_with={"fillfactor": 85},
)

nodes = Table(
    "nodes",
    metadata,
    Column("no", _Number, primary_key=True, autoincrement=False),
    Column("id", LargeBinary, nullable=False),
    Column("workflow_no", BigInteger, nullable=False),
    Column("user_key", BigInteger, nullable=False),
    Column("name_key", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("parent_id", LargeBinary),
    #: Transaction id of the command that made it; null: it has none.
    Column("tid_key", BigInteger),
    #: Pool of the limit that it waits for a slot of; null: it does not wait for one.
    Column("pool_key", BigInteger),
    #: `states`
    Column("state", Integer, nullable=False),
    #: Time of the newest status change.
    Column("last_at", BigInteger, nullable=False),
    #: History read so far: changes of this chunk (the newest chunk is in the node's own record).
    Column("chunk", Integer, nullable=False),
    Column("chunk_changes", Integer, nullable=False),
    #: Mark of a cancel or reset that may still be in progress below it.
    Column("deactivate_below", Integer, nullable=False),
    #: msgpack of rows.NodeRest
    Column("rest", LargeBinary, nullable=False),
    Index("nodes_id", "id", unique=True),
    Index("nodes_of_workflow", "workflow_no", "seq"),
    Index("nodes_of_workflow_by_time", "workflow_no", "created", "id", postgresql_include=["no"]),
    _index_where("nodes_of_parent", "parent_id IS NOT NULL", "parent_id", "created", "id"),
    _index_where("nodes_of_tid", "tid_key IS NOT NULL", "tid_key", "created", "id"),
    _index_where("nodes_at_pools", "pool_key IS NOT NULL", "name_key", "created", "id", "pool_key", "workflow_no"),
    Index("nodes_of_user", "user_key", "created", "id", postgresql_include=["no"]),
    Index("nodes_of_name", "name_key", "created", "id", postgresql_include=["no"]),
    Index("nodes_in_state", "user_key", "state", "created", "id", "last_at", postgresql_include=["no"]),
    Index("nodes_of_name_in_state", "name_key", "state", "created", "id", "last_at", postgresql_include=["no"]),
)

node_bodies = Table(
    "node_bodies",
    metadata,
    Column("no", _Number, primary_key=True, autoincrement=False),
    Column("metadata", Text, nullable=False),
    #: msgpack of rows.NodeBody
    Column("body", LargeBinary, nullable=False),
)

#: Nodes of a workflow by state.
workflow_states = Table(
    "workflow_states",
    metadata,
    Column("workflow_no", _Number, primary_key=True, autoincrement=False),
    Column("state", Integer, primary_key=True, autoincrement=False),
    Column("nodes", Integer, nullable=False),
    Column("user_key", BigInteger, nullable=False),
    Column("name_key", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("id", LargeBinary, nullable=False),
    Index("workflows_in_state", "user_key", "state", "created", "id", postgresql_include=["workflow_no"]),
    Index("workflows_of_name_in_state", "name_key", "state", "created", "id", postgresql_include=["workflow_no"]),
    sqlite_with_rowid=False,
)

status_changes = Table(
    "status_changes",
    metadata,
    Column("node_no", _Number, primary_key=True, autoincrement=False),
    #: Number of the chunk * 65536 + index in it.
    Column("ordinal", BigInteger, primary_key=True, autoincrement=False),
    Column("code", SmallInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("user_key", BigInteger, nullable=False),
    #: The workflow's user if it is another.
    Column("owner_key", BigInteger),
    Index("changes_of_user", "user_key", "code", "at", "node_no"),
    Index(
        "changes_of_owner",
        "owner_key",
        "code",
        "at",
        "node_no",
        sqlite_where=text("owner_key IS NOT NULL"),
        postgresql_where=text("owner_key IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

#: Children of nodes that have many, by name and server status (`following.siblings`).
child_states = Table(
    "child_states",
    metadata,
    Column("parent_id", LargeBinary, primary_key=True),
    Column("name_key", BigInteger, primary_key=True, autoincrement=False),
    Column("server", SmallInteger, primary_key=True, autoincrement=False),
    Column("nodes", Integer, nullable=False),
    sqlite_with_rowid=False,
)

#: Nodes that have failed: they wait for a retry, or for a person.
failed_nodes = Table(
    "failed_nodes",
    metadata,
    Column("node_no", _Number, primary_key=True, autoincrement=False),
    Column("workflow_no", BigInteger, nullable=False),
    Column("parent_id", LargeBinary),
    Column("seq", Integer, nullable=False),
    Column("server", SmallInteger, nullable=False),
    Column("cause_key", BigInteger, nullable=False),
    #: Time of the error.
    Column("at", BigInteger, nullable=False),
    #: Time of the next retry; null: a person is waited for.
    Column("due_at", BigInteger),
    Index("failed_of_workflow", "workflow_no", "server", "seq", postgresql_include=["node_no"]),
    Index("failed_of_cause", "cause_key", "server", "at", "workflow_no"),
    Index("failed_by_due", "server", "due_at", "cause_key"),
)

#: Causes that some of them have (`cause`), of one activity each.
causes = Table(
    "causes",
    metadata,
    Column("key", BigInteger, primary_key=True, autoincrement=False),
    Column("user_key", BigInteger, nullable=False),
    Column("name_key", BigInteger, nullable=False),
    Column("text", LargeBinary, nullable=False),
    Column("sample", LargeBinary, nullable=False),
)

#: Nodes of all users by state: also the list of all states that occur.
node_states = Table(
    "node_states",
    metadata,
    Column("state", Integer, primary_key=True, autoincrement=False),
    Column("nodes", BigInteger, nullable=False),
)

#: Results of nodes by day (UTC, days since the epoch).
days = Table(
    "days",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("completed", BigInteger, nullable=False),
    Column("errored", BigInteger, nullable=False),
)

workflow_names = Table(
    "workflow_names",
    metadata,
    Column("user_key", BigInteger, primary_key=True, autoincrement=False),
    Column("name_key", BigInteger, primary_key=True, autoincrement=False),
    #: Bytes: a name may hold characters that PostgreSQL does not take as text.
    Column("name", LargeBinary, nullable=False),
    Column("workflows", BigInteger, nullable=False),
)

#: Every run of one to three letters in any text: a needle with another one matches none.
text_grams = Table(
    "text_grams",
    metadata,
    #: `grams`
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("gram", Text, primary_key=True),
    sqlite_with_rowid=False,
)

#: Records that arrived before those that they depend on: compaction keeps the newest of each key, not their order.
waiting = Table(
    "waiting",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    #: Workflow or node that the record waits for.
    Column("subject_id", LargeBinary, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Index("waiting_for", "subject_id"),
)

#: Trigrams of the texts, without the texts and positions: a prefilter, each match is checked again.
_SQLITE_TEXTS = """CREATE VIRTUAL TABLE IF NOT EXISTS {name} USING fts5(
    words, content='', detail=none, columnsize=0, tokenize='trigram case_sensitive 1')"""
TEXTS = ("node_texts", "workflow_texts")
#: Both take the lower case of a text; every match is checked again.
_POSTGRESQL_TEXTS = {
    "node_bodies_metadata": "node_bodies USING gin (metadata gin_trgm_ops) WHERE metadata <> '{}'",
    "workflows_subject": "workflows USING gin (subject gin_trgm_ops)",
}
#: Indexes by which the follower itself finds rows.
_LOOKED_UP = frozenset({"failed_of_cause", "workflows_id", "nodes_id", "nodes_of_workflow", "waiting_for"})


def create(connection: Connection) -> None:
    """Create what is missing."""
    metadata.create_all(connection)
    if connection.dialect.name == "sqlite":
        for name in TEXTS:
            connection.execute(text(_SQLITE_TEXTS.format(name=name)))
    else:
        _create_trigrams(connection)


def _create_trigrams(connection: Connection) -> None:
    """Create the indexes by trigrams where PostgreSQL has these: creating the extension needs a right, once."""
    try:
        with connection.begin_nested():
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
    except DBAPIError as error:
        logger.warning("PostgreSQL has no trigrams (pg_trgm): searches in texts read whole tables. %s", error.orig)
        return
    for name, place in _POSTGRESQL_TEXTS.items():
        connection.execute(text(f"CREATE INDEX IF NOT EXISTS {name} ON {place}"))


def drop_search_indexes(connection: Connection) -> None:
    """Drop the indexes of searches, which make a bulk load slow; `create_indexes` makes them again."""
    for table in metadata.sorted_tables:
        for index in table.indexes:
            if index.name not in _LOOKED_UP:
                index.drop(connection, checkfirst=True)
    if connection.dialect.name != "sqlite":
        for name in _POSTGRESQL_TEXTS:
            connection.execute(text(f"DROP INDEX IF EXISTS {name}"))


def create_indexes(connection: Connection) -> None:
    """Create every missing index."""
    for create_index in index_steps(connection.dialect.name):
        create_index(connection)


def index_steps(dialect: str) -> list[Callable[[Connection], None]]:
    """Functions that create the missing indexes, one each: for a transaction of its own, since each may take long."""
    steps: list[Callable[[Connection], None]] = [
        partial(index.create, checkfirst=True) for table in metadata.sorted_tables for index in table.indexes
    ]
    return steps if dialect == "sqlite" else [*steps, _create_trigrams]


def drop(connection: Connection) -> None:
    """Drop all tables."""
    if connection.dialect.name == "sqlite":
        for name in TEXTS:
            connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
    metadata.drop_all(connection)


def exist(connection: Connection) -> bool:
    """True if the tables exist, in any version."""
    return inspect(connection).has_table(facts.name)
