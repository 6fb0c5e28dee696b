"""SQL statements of the follower: the same on both databases, each built once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Delete,
    Dialect,
    Insert,
    Table,
    TextClause,
    Update,
    bindparam,
    delete,
    exists,
    null,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.compiler import SQLCompiler

from backbeat.gateway.projection.storage import tables

#: Rows that a statement deletes.
_ROWS_AT_ONCE = 500
#: Rows that a statement inserts, the most first: one by one, each lets other threads of Python in, and costs twice as
#: much. Of the widest table they have less than 999 parameters, the bound of an SQLite before 3.32.
_INSERT_ROWS = (60, 8)
#: Values that a statement of SQLite looks for, the fewest first: so few texts are prepared once.
_LOOK_UP_VALUES = (8, 64, 512)

#: Rows as statement parameters.
Rows = list[dict[str, Any]]

_Upsert = sqlite.Insert | postgresql.Insert


#: Parameters of the statement that changes nodes, in its order.
NODE_CHANGES = ("pool_key", "state", "last_at", "chunk", "chunk_changes", "deactivate_below", "rest", "b_no")

_PUT_TEXTS = {
    name: text(f"INSERT INTO {name}(rowid, words) VALUES (:no, :words)")  # noqa: S608 - names of our own
    for name in tables.TEXTS
}
_DROP_TEXTS = {
    name: text(f"INSERT INTO {name}({name}, rowid, words) VALUES ('delete', :no, :words)")  # noqa: S608 - as above
    for name in tables.TEXTS
}


class _DriverStatement(NamedTuple):
    """Statement as the driver takes it: its parameters' names in order, and the values of constant ones."""

    sql: str
    names: tuple[str, ...]
    constants: dict[str, Any]
    #: Placeholders of a row in parentheses, of a statement that takes several; empty: it takes one.
    placeholders: str

    def parameters(self, rows: Rows) -> list[tuple[Any, ...]]:
        """The rows as the driver takes them."""
        if self.constants:
            rows = [{**self.constants, **row} for row in rows]
        if len(self.names) == 1:
            return [(row[self.names[0]],) for row in rows]
        return list(map(itemgetter(*self.names), rows))

    def of_rows(self, count: int) -> str:
        """The statement with so many rows."""
        return self.sql.replace(self.placeholders, ", ".join([self.placeholders] * count), 1)


class Statements:
    """Statements that write lists of rows on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        # The library prepares each parameter of each row by itself, which costs more than the database: the driver
        # takes rows as they are.
        style, self._mark = ("qmark", "?") if self._dialect is sqlite else ("format", "%s")
        make_dialect: Callable[..., Dialect] = type(connection.dialect)
        self._positional = make_dialect(paramstyle=style)
        self._compiled: dict[Any, _DriverStatement] = {}
        self._inserting: dict[str, Insert] = {}
        self._columns = {table.name: tuple(table.columns.keys()) for table in tables.metadata.sorted_tables}
        self.update_workflows = _update(tables.workflows, "no", "has_nodes", "watermark", "sweeps", "body")
        self.update_nodes = _update(tables.nodes, "no", *NODE_CHANGES[:-1])
        self.deactivate = _update(tables.nodes, "no", "state").values(pool_key=null())
        self.add_workflow_states = self._adding(tables.workflow_states, "nodes")
        self.add_child_states = self._adding(tables.child_states, "nodes")
        self.drop_child_states = (
            delete(tables.child_states)
            .where(tables.child_states.c.parent_id == bindparam("b_parent_id"))
            .where(tables.child_states.c.name_key == bindparam("b_name_key"))
            .where(tables.child_states.c.server == bindparam("b_server"))
            .where(tables.child_states.c.nodes == 0)
        )
        self.add_node_states = self._adding(tables.node_states, "nodes")
        self.add_days = self._adding(tables.days, "completed", "errored")
        self.add_names = self._adding(tables.workflow_names, "workflows")
        self.put_failed_nodes = self._replacing(tables.failed_nodes, "server", "cause_key", "at", "due_at")
        self.add_causes = self._upsert(tables.causes).on_conflict_do_nothing(index_elements=[tables.causes.c.key])
        self.drop_causes = (
            delete(tables.causes)
            .where(tables.causes.c.key == bindparam("b_key"))
            .where(~exists().where(tables.failed_nodes.c.cause_key == tables.causes.c.key))
        )
        self.put_positions = self._replacing(tables.positions, "next_offset")
        self.put_facts = self._replacing(tables.facts, "value")
        self.put_waiting = self._replacing(tables.waiting, "subject_id", "value")
        self.drop_workflow_states = (
            delete(tables.workflow_states)
            .where(tables.workflow_states.c.workflow_no == bindparam("b_workflow_no"))
            .where(tables.workflow_states.c.state == bindparam("b_state"))
            .where(tables.workflow_states.c.nodes == 0)
        )

    def run(self, statement: Insert | Update | Delete | TextClause, rows: Rows) -> None:
        """Run a statement for each row; all rows have the same columns."""
        if rows:
            compiled = self._compile(statement, tuple(rows[0]))
            self._execute(compiled, compiled.parameters(rows))

    def run_values(
        self, statement: Insert | Update, columns: tuple[str, ...], values: Sequence[tuple[Any, ...]]
    ) -> None:
        """Run a statement for each row of values, which are in the order of its parameters, `columns`."""
        if values:
            compiled = self._compile(statement, columns)
            assert compiled.names == columns, f"the statement has its parameters as {compiled.names}"
            self._execute(compiled, values)

    def _execute(self, statement: _DriverStatement, values: Sequence[tuple[Any, ...]]) -> None:
        begin = 0
        for count in _INSERT_ROWS if statement.placeholders else ():
            end = begin + (len(values) - begin) // count * count
            if begin < end:
                several = [
                    tuple(chain.from_iterable(values[first : first + count])) for first in range(begin, end, count)
                ]
                self._connection.exec_driver_sql(statement.of_rows(count), several)
                begin = end
        if begin < len(values):
            self._connection.exec_driver_sql(statement.sql, list(values[begin:]))

    def insert(self, table: Table, rows: Rows) -> None:
        """Insert rows."""
        self.run(self._inserts(table), rows)

    def insert_values(self, table: Table, values: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows of values, each in the order of the table's columns."""
        self.run_values(self._inserts(table), self._columns[table.name], values)

    def _inserts(self, table: Table) -> Insert:
        statement = self._inserting.get(table.name)
        if statement is None:
            statement = self._inserting[table.name] = table.insert()
        return statement

    def _compile(self, statement: Insert | Update | Delete | TextClause, columns: tuple[str, ...]) -> _DriverStatement:
        driver_statement = self._compiled.get((statement, columns))
        if driver_statement is None:
            compiled = statement.compile(dialect=self._positional, column_keys=list(columns))
            assert isinstance(compiled, SQLCompiler)
            names = tuple(compiled.positiontup or ())
            constants = {name: value for name, value in compiled.params.items() if name not in columns}
            sql, placeholders = str(compiled), f"({', '.join([self._mark] * len(names))})"
            takes_several = f"VALUES {placeholders}" in sql and not constants
            driver_statement = _DriverStatement(sql, names, constants, placeholders if takes_several else "")
            self._compiled[statement, columns] = driver_statement
        return driver_statement

    def put_texts(self, name: str, rows: Rows) -> None:
        """Add texts to SQLite's index; PostgreSQL does so by itself."""
        if self._dialect is sqlite:
            self.run(_PUT_TEXTS[name], rows)

    def drop_texts(self, name: str, rows: Rows) -> None:
        """Remove texts from SQLite's index: the words must be those that were added."""
        if self._dialect is sqlite:
            self.run(_DROP_TEXTS[name], rows)

    def select(self, table: Table, column: str, values: list[Any], *columns: str, end: str = "") -> list[Any]:
        """Rows in which a column has one of the values. `end`: of the statement, such as a grouping by that column."""
        # Text of our own: the library's takes longer to be made than the rows to be found.
        select = f"SELECT {', '.join(columns)} FROM {table.name} WHERE {column}"  # noqa: S608 - names of our own
        if self._dialect is postgresql:
            return list(self._connection.exec_driver_sql(f"{select} = ANY(%s) {end}", (values,))) if values else []
        result: list[Any] = []
        for first in range(0, len(values), _LOOK_UP_VALUES[-1]):
            wanted = values[first : first + _LOOK_UP_VALUES[-1]]
            count = next(count for count in _LOOK_UP_VALUES if count >= len(wanted))
            sql = f"{select} IN ({', '.join('?' * count)}) {end}"
            result += self._connection.exec_driver_sql(sql, (*wanted, *(wanted[:1] * (count - len(wanted)))))
        return result

    def nodes_between(self, workflow_no: int, seqs: tuple[int, int], *columns: str) -> list[Any]:
        """Nodes of a workflow from the first `seq` on, up to the second."""
        nodes = tables.nodes.c
        wanted = (nodes.workflow_no == workflow_no) & nodes.seq.between(seqs[0], seqs[1] - 1)
        return list(self._connection.execute(select(*(nodes[name] for name in columns)).where(wanted)))

    def swept_workflows(self, *columns: str) -> list[Any]:
        """Workflows with a cancel, reset or deactivation in progress."""
        workflows = tables.workflows.c
        return list(
            self._connection.execute(select(*(workflows[name] for name in columns)).where(workflows.sweeps > 0))
        )

    def delete(self, table: Table, column: str, values: list[Any]) -> None:
        """Delete the rows in which a column has one of the values."""
        for first in range(0, len(values), _ROWS_AT_ONCE):
            condition = table.c[column].in_(values[first : first + _ROWS_AT_ONCE])
            self._connection.execute(delete(table).where(condition))

    def _upsert(self, table: Table) -> _Upsert:
        statement: _Upsert = self._dialect.insert(table)
        return statement

    def _adding(self, table: Table, *columns: str) -> _Upsert:
        """Upsert that adds to the existing values."""
        statement = self._upsert(table)
        added = {name: table.c[name] + statement.excluded[name] for name in columns}
        return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=added)

    def _replacing(self, table: Table, *columns: str) -> _Upsert:
        """Upsert that replaces the existing values."""
        statement = self._upsert(table)
        replaced = {name: statement.excluded[name] for name in columns}
        return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=replaced)


def _update(table: Table, key: str, *columns: str) -> Update:
    # A parameter may not have the name of a column that is set.
    condition = table.c[key] == bindparam(f"b_{key}")
    return update(table).where(condition).values({name: bindparam(name) for name in columns})
