"""Counts of children by name and server status, of nodes that have many children.

A node with few costs nothing: its children are counted when somebody asks. A parent is counted from the batch on that
brings it to fifty children, and then for as long as it has one. A workflow's first nodes are never counted, so that
workflows of few nodes are not even looked at: whoever reads adds them (`reading.siblings`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import Connection, text

from backbeat.gateway.projection.following.deactivation import Transition
from backbeat.gateway.projection.following.statements import Statements
from backbeat.gateway.projection.storage import states, tables

#: Children from which on those of a node are counted.
COUNTED_FROM = 50
#: Nodes of a workflow that are counted: those with this seq and later ones.
FIRST_SEQ = 50
#: Counted parents that a writer remembers: each is looked for once, and not in every batch.
_KNOWN_MAX = 10_000

_FEW = f"GROUP BY parent_id HAVING COUNT(*) >= {COUNTED_FROM}"
_COUNT_ALL = text(
    "INSERT INTO child_states (parent_id, name_key, server, nodes)"  # noqa: S608 - whole numbers
    f" SELECT parent_id, name_key, state & {states.SERVER_BITS}, COUNT(*) FROM nodes WHERE seq >= {FIRST_SEQ}"
    f" AND parent_id IN (SELECT parent_id FROM nodes WHERE parent_id IS NOT NULL {_FEW})"
    f" GROUP BY parent_id, name_key, state & {states.SERVER_BITS}"
)


def count_all(connection: Connection) -> None:
    """Count the children of every node that has many: at the end of a bulk load, which counts none."""
    connection.execute(text("DELETE FROM child_states"))
    connection.execute(_COUNT_ALL)


class Siblings:
    """Changes of these counts in one batch."""

    def __init__(self, known: set[bytes]) -> None:
        """`known`: parents that are counted, as far as earlier batches of this writer have looked."""
        self._known = known
        #: (parent, name's key, server status) -> change of its number of nodes.
        self._changes: Counter[tuple[bytes, int, int]] = Counter()
        #: Parents that have got a child.
        self._grown: set[bytes] = set()

    def add(self, parent_id: bytes, name_key: int, state: int) -> None:
        """Count a new node, which is not one of its workflow's first."""
        self._changes[parent_id, name_key, state & states.SERVER_BITS] += 1
        self._grown.add(parent_id)

    def move(self, transitions: Iterable[Transition]) -> None:
        """Count nodes in another state than before."""
        for _, parent_id, seq, name_key, state_before, state_after in transitions:
            before, after = state_before & states.SERVER_BITS, state_after & states.SERVER_BITS
            if seq >= FIRST_SEQ and parent_id is not None and before != after:
                self._changes[parent_id, name_key, before] -= 1
                self._changes[parent_id, name_key, after] += 1

    def remove(self, parent_id: bytes | None, seq: int, name_key: int, state: int) -> None:
        """Count a node that is deleted no more."""
        if seq >= FIRST_SEQ and parent_id is not None:
            self._changes[parent_id, name_key, state & states.SERVER_BITS] -= 1

    def write(self, statements: Statements) -> None:
        """Add the changes of the parents that are counted, and begin with those that have many children now."""
        changed = {parent_id for parent_id, _, _ in self._changes}
        if not changed:
            return
        counted = self._counted(statements, changed)
        changes = {key: count for key, count in self._changes.items() if count and key[0] in counted}
        grown = list(self._grown - counted)
        many = [row[0] for row in statements.select(tables.nodes, "parent_id", grown, "parent_id", end=_FEW)]
        for row in statements.select(tables.nodes, "parent_id", many, "parent_id", "name_key", "state", "seq"):
            if row.seq >= FIRST_SEQ:
                key = row.parent_id, row.name_key, row.state & states.SERVER_BITS
                changes[key] = changes.get(key, 0) + 1
        self._known |= counted.union(many)
        columns = "parent_id", "name_key", "server", "nodes"
        statements.run_values(statements.add_child_states, columns, [(*key, count) for key, count in changes.items()])
        statements.run(
            statements.drop_child_states,
            [
                {"b_parent_id": parent_id, "b_name_key": name_key, "b_server": server}
                for (parent_id, name_key, server), count in changes.items()
                if count < 0
            ],
        )

    def _counted(self, statements: Statements, changed: set[bytes]) -> set[bytes]:
        # Of a parent whose children are gone nothing is left to be counted: that it was is as good.
        if len(self._known) > _KNOWN_MAX:
            self._known.clear()
        unknown = list(changed - self._known)
        rows = statements.select(tables.child_states, "parent_id", unknown, "DISTINCT parent_id")
        return (changed & self._known) | {row[0] for row in rows}
