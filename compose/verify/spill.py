"""The judge's memory: a SQLite file, and in front of it the workflows that commands are about just now.

What is in memory is bounded by nodes, not by workflows; a workflow is there whole. Long payloads are kept once, by
their digest.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from backbeat.compose.verify.rules.tree import Node, Tree, digest
from backbeat.schemas.messages.ids import PREFIX_BYTES

#: Nodes in memory, about: those of the newest workflows.
NODES_MAX = 50_000
_LONG_BYTES = 200
_PACK = msgspec.msgpack.Encoder().encode
_UNPACK = msgspec.msgpack.Decoder(list[Tree]).decode
_TABLES = """
CREATE TABLE IF NOT EXISTS families (partition INTEGER, prefix BLOB, trees BLOB, PRIMARY KEY (partition, prefix))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS texts (partition INTEGER, prefix BLOB, digest BLOB, text BLOB,
    PRIMARY KEY (partition, prefix, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (partition INTEGER, id BLOB, hash BLOB, form TEXT, node BLOB, forget_at INTEGER,
    PRIMARY KEY (partition, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tombstones (partition INTEGER, id BLOB, forget_at INTEGER, PRIMARY KEY (partition, id))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS partitions (partition INTEGER PRIMARY KEY, state BLOB);
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS stored (partition INTEGER, key BLOB, value BLOB, PRIMARY KEY (partition, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sends (partition INTEGER, number INTEGER, target INTEGER, word TEXT, what BLOB,
    wanted INTEGER, place INTEGER);
"""


class Family:
    """The workflows whose ids begin alike: nearly always one. A node's id names its family."""

    def __init__(self, trees: list[Tree]) -> None:
        self.trees = {tree.id: tree for tree in trees}
        self.nodes: dict[bytes, tuple[Tree, Node]] = {node.id: (tree, node) for tree in trees for node in tree.nodes}

    def forget(self, tree: Tree) -> None:
        """Forget a workflow and its nodes."""
        del self.trees[tree.id]
        for node in tree.nodes:
            del self.nodes[node.id]


class Spill:
    """The file. Nothing of it needs to survive a crash, so nothing waits for the disk."""

    def __init__(self, path: Path, nodes_max: int = NODES_MAX) -> None:
        """Open or make the file. `nodes_max`: nodes in memory."""
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-16384;" + _TABLES)
        self.db.execute("BEGIN")
        self._nodes_max = nodes_max
        self._families: OrderedDict[tuple[int, bytes], Family] = OrderedDict()
        self._nodes_count = 0

    def close(self) -> None:
        """Write what is in memory, and close the file."""
        self._evict(0)
        self.db.execute("COMMIT")
        self.db.close()

    def end_run(self, positions: dict[int, int]) -> None:
        """Drop what only this run needed: the rest is the snapshot.

        What commands behind their partition's position have sent may be in the log before its target's: it stays.
        """
        self.db.execute("DELETE FROM stored")
        self.db.execute("DELETE FROM sends WHERE wanted = 1")
        for partition, position in positions.items():
            self.db.execute("DELETE FROM sends WHERE partition = ? AND number < ?", (partition, position))
        self.db.execute("DROP INDEX IF EXISTS sends_by_place")
        self._evict(0)
        self.db.execute("COMMIT")
        self.db.execute("VACUUM")
        self.db.execute("BEGIN")

    # --- workflows ---------------------------------------------------------------------------------------------------

    def family(self, partition: int, identity: bytes) -> Family:
        """The family of an id, with all its workflows; empty: there is none yet."""
        key = partition, identity[:PREFIX_BYTES]
        family = self._families.get(key)
        if family is not None:
            self._families.move_to_end(key)
            return family
        row = self.db.execute("SELECT trees FROM families WHERE partition = ? AND prefix = ?", key).fetchone()
        family = Family(_UNPACK(zlib.decompress(row[0])) if row is not None and row[0] else [])
        self._families[key] = family
        self._nodes_count += len(family.nodes)
        if self._nodes_count > self._nodes_max:
            self._evict(self._nodes_max)
        return family

    def added(self) -> None:
        """A node came to one of the workflows in memory."""
        self._nodes_count += 1

    def announce(self, partition: int, identity: bytes) -> None:
        """Make a family known to `workflow_ids`."""
        self.db.execute("INSERT OR IGNORE INTO families VALUES (?, ?, NULL)", (partition, identity[:PREFIX_BYTES]))

    def prefixes(self, partition: int, begin: bytes = b"") -> Iterator[bytes]:
        """The beginnings of the ids of all families of a partition, in order. Families may be read meanwhile."""
        query = "SELECT prefix FROM families WHERE partition = ? AND prefix >= ? ORDER BY prefix LIMIT 500"
        while rows := self.db.execute(query, (partition, begin)).fetchall():
            for (prefix,) in rows:
                yield prefix
            begin = rows[-1][0] + b"\0"

    def workflow_ids(self, partition: int, after: bytes | None, count: int) -> list[bytes]:
        """The first `count` workflows behind an id, in the order of ids; null: from the first on."""
        identities: list[bytes] = []
        for prefix in self.prefixes(partition, b"" if after is None else after[:PREFIX_BYTES]):
            trees = self.family(partition, prefix).trees
            identities += sorted(identity for identity in trees if after is None or identity > after)
            if len(identities) >= count:
                break
        return identities[:count]

    def node_ids(self, partition: int, after: bytes | None, count: int) -> list[bytes]:
        """The first `count` nodes behind an id, in the order of ids; null: from the first on."""
        identities: list[bytes] = []
        begin = b"" if after is None else after[:PREFIX_BYTES]
        for prefix in self.prefixes(partition, begin):
            nodes = self.family(partition, prefix).nodes
            identities += sorted(identity for identity in nodes if after is None or identity > after)
            if len(identities) >= count:
                break
        return identities[:count]

    def _evict(self, nodes_max: int) -> None:
        while self._families and (self._nodes_count > nodes_max or nodes_max == 0):
            if nodes_max and len(self._families) == 1:
                return  # One workflow is in memory whole, however large it is.
            key, family = self._families.popitem(last=False)
            self._nodes_count -= len(family.nodes)
            trees = zlib.compress(_PACK(list(family.trees.values())), 1) if family.trees else None
            if trees is None:
                for table in ("families", "texts"):
                    self.db.execute(f"DELETE FROM {table} WHERE partition = ? AND prefix = ?", key)  # noqa: S608 - as above
            else:
                self.db.execute("INSERT OR REPLACE INTO families VALUES (?, ?, ?)", (*key, trees))
        if not self._families:
            self._nodes_count = 0

    # --- payloads ----------------------------------------------------------------------------------------------------

    def keep(self, partition: int, identity: bytes, text: bytes) -> bytes:
        """A payload as a node of this family keeps it: itself, or where it is long a mark and its digest."""
        if len(text) <= _LONG_BYTES:
            return text
        name = digest(text)
        row = (partition, identity[:PREFIX_BYTES], name, zlib.compress(text, 1))
        self.db.execute("INSERT OR IGNORE INTO texts VALUES (?, ?, ?, ?)", row)
        return b"\0" + name

    def text(self, partition: int, identity: bytes, kept: bytes) -> bytes:
        """The payload that was kept so."""
        if kept[:1] != b"\0":
            return kept
        query = "SELECT text FROM texts WHERE partition = ? AND prefix = ? AND digest = ?"
        row = self.one(query, partition, identity[:PREFIX_BYTES], kept[1:])
        return zlib.decompress(row[0])

    # --- one value by one key ----------------------------------------------------------------------------------------

    def one(self, statement: str, *values: Any) -> Any:
        """The first row of a query; null: it has none."""
        return self.db.execute(statement, values).fetchone()
