"""Comparison of what must be with what is stored: a partition's fold with the newest values of its changelog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from backbeat.compose.verify import stored
from backbeat.compose.verify.partition import Partition
from backbeat.compose.verify.rules.tree import (
    ANY_RESPONSE,
    CLIENT_WORDS,
    CLOSED,
    FIRE_AND_FORGET,
    SERVER_WORDS,
    Entry,
    Node,
    Parent,
    Tree,
    digest,
)
from backbeat.compose.verify.spill import Family
from backbeat.compose.verify.stored import Row, split_key

_PAGE_ROWS = 2_000
_SAME = (
    *("user_id", "name", "type", "seq", "depth", "created_at", "fires_at", "retry_interval_seconds", "complete_by"),
    *("attempt", "timer_number", "tid", "priority", "fairness_key", "slot", "slot_number", "granted_at"),
    *("coalesce_key", "in_paused", "mode", "timer_at", "backoff", "handed_back", "progress"),
)
_TREE_SAME = (
    *("user_id", "name", "subject", "decider", "created_at", "updated_at", "complete", "paused"),
    *("finished_at", "removal_at", "removal_number", "due_at"),
)


class Difference(NamedTuple):
    """A field that is stored otherwise than the rules say."""

    partition: int
    kind: str  #: workflow, node, …
    id: bytes
    field: str
    stored: str
    expected: str
    #: when the two parted, as far as a history says, milliseconds since the epoch; null: nothing says it
    at: int | None = None
    name: str = ""


class Comparison:
    """The comparison of one partition."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._db = partition.spill.db
        self._leftovers = partition.leftovers()
        self.counts: Counter[str] = Counter()

    def run(self) -> Iterator[Difference]:
        """All differences, family by family."""
        for prefix, rows in self._families():
            family = self._partition.spill.family(self._partition.number, prefix)
            yield from self._family(family, rows)
        for prefix in self._partition.spill.prefixes(self._partition.number):
            begin, end = b"w" + prefix, b"w" + prefix + b"\xff" * 20
            query = "SELECT 1 FROM stored WHERE partition = ? AND key >= ? AND key <= ? LIMIT 1"
            if self._partition.spill.one(query, self._partition.number, begin, end) is None:
                yield from self._family(self._partition.spill.family(self._partition.number, prefix), [])

    def _families(self) -> Iterator[tuple[bytes, list[tuple[bytes, bytes]]]]:
        """The stored records of workflows, by what their ids begin with."""
        after, prefix = b"w", b""
        group: list[tuple[bytes, bytes]] = []
        query = "SELECT key, value FROM stored WHERE partition = ? AND key > ? AND key < X'78' ORDER BY key LIMIT ?"
        while page := self._db.execute(query, (self._partition.number, after, _PAGE_ROWS)).fetchall():
            for key, value in page:
                if key[1:8] != prefix:
                    if group:
                        yield prefix, group
                    prefix, group = key[1:8], []
                group.append((key, value))
            after = page[-1][0]
        if group:
            yield prefix, group

    def difference(
        self, kind: str, identity: bytes, field: str, theirs: Any, ours: Any, at: int | None = None, name: str = ""
    ) -> Difference:
        """A difference of this partition."""
        return Difference(self._partition.number, kind, identity, field, _show(theirs), _show(ours), at, name)

    # --- workflows ---------------------------------------------------------------------------------------------------

    def _family(self, family: Family, rows: list[tuple[bytes, bytes]]) -> Iterator[Difference]:
        trees, nodes = dict(family.trees), dict(family.nodes)
        chunks: dict[bytes, list[bytes]] = {}
        links: dict[bytes, dict[bytes, bool]] = {}
        references: dict[bytes, dict[int, Row]] = {}
        node_rows: dict[bytes, Row] = {}
        coalescing: dict[tuple[bytes, str], bytes] = {}
        inboxes: dict[bytes, Row] = {}
        messages: dict[tuple[bytes, int], tuple[str, bytes]] = {}
        lines: dict[tuple[bytes, str], tuple[bytes, bytes]] = {}
        for key, value in rows:
            kind, identity, rest = split_key(key)
            if kind == "chunk":
                chunks.setdefault(identity, []).append(value)
            elif kind == "node":
                node_rows[identity] = stored.fields(kind, value)
            elif kind == "link":
                links.setdefault(identity, {})[rest] = stored.fields(kind, value)["open"]
            elif kind == "reference":
                slot = int.from_bytes(rest, "big")
                references.setdefault(identity, {})[slot] = stored.fields(kind, value)
            elif kind == "inbox":
                inboxes[identity] = stored.fields(kind, value)
            elif kind == "message":
                row = stored.fields(kind, value)
                messages[identity, int.from_bytes(rest, "big")] = (row["name"], row["payload"])
            elif kind == "line":
                row = stored.fields(kind, value)
                lines[identity, rest.decode()] = (row["first"], row["last"])
            elif kind == "coalesce":
                coalescing[identity, rest.decode()] = stored.fields(kind, value)["node_id"]
            elif kind == "workflow":
                tree = trees.pop(identity, None)
                row = stored.fields(kind, value)
                if tree is None:
                    yield self.difference(kind, identity, "record", "stored", "none", row["created_at"], row["name"])
                else:
                    yield from self._tree(tree, row)
            elif kind == "unknown":
                self._partition.unjudged["record of an unknown kind"] += 1
        for tree in trees.values():
            yield self.difference("workflow", tree.id, "record", "none", "stored", tree.created_at, tree.name)
        for identity, row in node_rows.items():
            pair = nodes.pop(identity, None)
            if pair is not None:
                row["history"] = b"".join(chunks.get(identity, ())) + row["history"]
                yield from self._node(*pair, row, links.get(identity, {}))
                yield from self._results(*pair, row["flow"], references)
                yield from self._awaits(*pair, row["awaits"])
                yield from self._follow_ups(*pair, row["follow_ups"])
            elif identity not in self._leftovers:
                yield self.difference("node", identity, "record", "stored", "none", row["created_at"], row["name"])
        for _, node in nodes.values():
            yield self.difference("node", node.id, "record", "none", "stored", node.created_at, node.name)
        expected = {
            (tree.id, key): tree.node(seq).id
            for tree in family.trees.values()
            for key, seq in tree.coalescing.items()
            if not tree.node(seq).attempt and tree.node(seq).server not in CLOSED
        }
        if expected != coalescing:
            identity = next(iter(expected.items() ^ coalescing.items()))[0][0]
            yield self.difference("workflow", identity, "signals that coalesce", coalescing, expected)
        yield from self._messages(family, inboxes, messages, lines)

    def _tree(self, tree: Tree, row: Row) -> Iterator[Difference]:
        self.counts["workflows"] += 1
        ours = {name: getattr(tree, name) for name in _TREE_SAME}
        ours |= {
            "next_seq": len(tree.nodes) + 1,
            "continuations_pending": len(tree.pending),
            "waits": [b"".join(wait) for wait in tree.waits],
            **self._ledger(tree, tree),
        }
        if not tree.pending:
            ours["detached_open"] = sum(
                1
                for node in tree.nodes
                if not node.is_closed and (node.mode == FIRE_AND_FORGET or _is_closed(tree.parent_of(node)))
            )
        row["waits"] = list(row["waits"])
        yield from self._fields("workflow", tree.id, row, ours, tree.name)

    def _ledger(self, tree: Tree, parent: Parent) -> Row:
        children = parent.children
        ends = {
            "first_child": tree.node(children[0]).id if children else None,
            "last_child": tree.node(children[-1]).id if children else None,
        }
        return ends if tree.pending else {**ends, "children_open": parent.waiting}

    def _node(self, tree: Tree, node: Node, row: Row, links: dict[bytes, bool]) -> Iterator[Difference]:
        self.counts["nodes"] += 1
        yield from self._history(node, stored.status_changes(row["history"]))
        text = self._partition.text
        ours = {name: getattr(node, name) for name in _SAME}
        siblings = tree.parent_of(node).children
        behind = siblings[node.place + 1] if node.place + 1 < len(siblings) else None
        ours |= {
            "workflow_id": tree.id,
            "parent_id": tree.node(node.parent).id if node.parent else None,
            "client_data": text(node.id, node.client_data),
            "metadata": text(node.id, node.metadata),
            "parent_link_id": node.link,
            "retries_remaining": node.retries,
            "retries": node.given,
            "timeout_seconds": -2.0 if node.timeout is None else node.timeout,
            "next_sibling": None if behind is None else tree.node(behind).id,
            "server": node.server,
            "client": node.client,
            **self._ledger(tree, node),
        }
        if node.timer_at is not None:
            ours["timer_kind"] = node.timer_kind
        if not tree.pending:
            ours["links_open"] = node.links_open + node.held
            if links != node.links:
                yield self.difference("node", node.id, "links", links, node.links, None, node.name)
        yield from self._fields("node", node.id, row, ours, node.name)

    def _results(
        self, tree: Tree, node: Node, flow: list[Any] | None, references: dict[bytes, dict[int, Row]]
    ) -> Iterator[Difference]:
        """Results that a node takes, and those who wait for its own."""
        names, values = stored.FLOW_FIELDS, flow or []
        theirs: Row = dict.fromkeys(names) | stored.named(names[: len(values)], values)
        chain: list[tuple[bytes, int]] = []
        taker, slot = theirs["first_taker"], theirs["first_slot"]
        while taker is not None and len(chain) <= len(node.takers):
            chain.append((taker, slot))
            reference = references.get(taker, {}).get(slot, {"next_taker": None, "next_slot": 0})
            taker, slot = reference["next_taker"], reference["next_slot"]
        unknown = {number for number, taken in enumerate(node.takes) if taken.default == ANY_RESPONSE}
        rows = [
            (
                number,
                row["producer"],
                row["of_children"],
                ANY_RESPONSE if number in unknown else _digest(row["default"]),
                row["state"],
            )
            for number, row in sorted(references.get(node.id, {}).items())
        ]
        pairs = {
            "results missing": (theirs["missing"] or 0, node.missing),
            "returned child": (theirs["returns"], tree.node(node.returns).id if node.returns else None),
            "without a returned result": (bool(theirs["lacks_result"]), node.lacks_result),
            "children counted from": (
                theirs["counted_from"],
                tree.node(node.counted_from).id if node.counted_from else None,
            ),
            "takers of children": (bool(theirs["of_children"]), node.children_are_taken),
            "children without a result": (theirs["failed"], node.failed),
            "children allowed to fail": (theirs["failures_allowed"] or 0, node.failures_allowed),
            "children that have failed": (theirs["failures"] or 0, node.failures),
            "allowed failure": (bool(theirs["is_allowed_failure"]), node.is_allowed_failure),
            "children with a result": (theirs["counted"] or 0, node.counted),
            "takers": (chain, [(tree.node(seq).id, number) for seq, number in node.takers]),
            "results taken": (
                rows,
                [
                    (number, tree.node(taken.producer).id, taken.of_children, taken.default, taken.state)
                    for number, taken in enumerate(node.takes)
                ],
            ),
        }
        for field, (their, our) in pairs.items():
            if their != our:
                yield self.difference("node", node.id, field, their, our, None, node.name)

    def _messages(
        self,
        family: Family,
        inboxes: dict[bytes, Row],
        messages: dict[tuple[bytes, int], tuple[str, bytes]],
        lines: dict[tuple[bytes, str], tuple[bytes, bytes]],
    ) -> Iterator[Difference]:
        """Messages that workflows keep, and the ends of the lines of nodes that wait for some."""
        trees = family.trees.values()
        kept = {
            (tree.id, message.number): (message.name, message.payload) for tree in trees for message in tree.messages
        }
        waiting = {
            (tree.id, name): (tree.node(line[0]).id, tree.node(line[-1]).id)
            for tree in trees
            for name, line in tree.lines.items()
        }
        listed = {
            tree.id: [[message.number, message.name] for message in tree.messages] for tree in trees if tree.messages
        }
        theirs_listed = {identity: list(map(list, row["kept"])) for identity, row in inboxes.items()}
        sizes = {
            tree.id: sum(len(message.name.encode()) + len(message.payload) for message in tree.messages)
            for tree in trees
            if tree.messages
        }
        their_sizes = {identity: row["size_bytes"] for identity, row in inboxes.items()}
        for field, theirs, ours in (
            ("messages", messages, kept),
            ("list of messages", theirs_listed, listed),
            ("bytes of messages", their_sizes, sizes),
            ("nodes that wait for messages", lines, waiting),
        ):
            if theirs != ours:
                key = next(key for key in {*theirs, *ours} if theirs.get(key) != ours.get(key))
                identity = key[0] if isinstance(key, tuple) else key
                yield self.difference("workflow", identity, field, theirs.get(key), ours.get(key))

    def _awaits(self, tree: Tree, node: Node, values: list[Any] | None) -> Iterator[Difference]:
        """A node's place in the line of those that wait for messages of its name."""
        ours = None
        if node.awaits:
            line = tree.lines.get(node.name, [])
            place = line.index(node.seq) if node.seq in line else None
            before = None if not place else tree.node(line[place - 1]).id
            after = None if place is None or place + 1 == len(line) else tree.node(line[place + 1]).id
            ours = [node.default, place is not None, before, after]
        if values != ours:
            yield self.difference("node", node.id, "wait for a message", values, ours, None, node.name)

    def _follow_ups(self, tree: Tree, node: Node, values: list[Any] | None) -> Iterator[Difference]:
        """Activities that follow a node."""
        names = stored.FOLLOW_UPS_FIELDS
        theirs: Row = dict.fromkeys(names, 0) | stored.named(names, values or [])
        theirs = {name: theirs[name] or (() if name == "wanted" else 0) for name in names}
        text = self._partition.text
        ours: Row = {name: getattr(node, name) for name in names if name != "wanted"}
        ours |= {name: tree.node(ours[name]).id if ours[name] else 0 for name in ("handler", "undo_from", "undo")}
        ours["wanted"] = tuple(
            [
                *(row.kind, row.name, row.user_id, text(node.id, row.client_data)),
                *(row.retry_interval_seconds, row.retries, row.backoff),
            ]
            for row in node.follow_ups
        )
        theirs["wanted"] = tuple(theirs["wanted"])
        yield from self._fields("node", node.id, theirs, ours, node.name)

    def _history(self, node: Node, theirs: list[Entry]) -> Iterator[Difference]:
        self.counts["status changes"] += len(theirs)
        for place in range(max(len(theirs), len(node.history))):
            their = theirs[place] if place < len(theirs) else None
            our = node.history[place] if place < len(node.history) else None
            if their is not None and our is not None:
                any_response = our[4] == ANY_RESPONSE and their[4]
                if their[:4] == our[:4] and (their[4] == our[4] or any_response):
                    continue
            at = min(entry[3] for entry in (their, our) if entry is not None)
            field = f"status change {place + 1}"
            yield self.difference("node", node.id, field, _entry(their), _entry(our), at, node.name)
            return

    def _fields(self, kind: str, identity: bytes, theirs: Row, ours: Row, name: str = "") -> Iterator[Difference]:
        for field, value in ours.items():
            if theirs.get(field) != value:
                words = {"server": SERVER_WORDS, "client": CLIENT_WORDS}.get(field)
                if words is None:
                    yield self.difference(kind, identity, field, theirs.get(field), value, None, name)
                else:
                    yield self.difference(kind, identity, field, words[theirs[field]], words[value], None, name)


def _digest(text: bytes | None) -> bytes | None:
    return None if text is None else digest(text)


def _is_closed(parent: Parent) -> bool:
    return isinstance(parent, Node) and parent.is_closed


def _entry(entry: Entry | None) -> str:
    if entry is None:
        return "none"
    status, before, to, at, response = entry
    words = SERVER_WORDS if status else CLIENT_WORDS
    answer = "" if not response else f" with the response {response.hex() if response != ANY_RESPONSE else 'any'}"
    return f"{'server' if status else 'client'} {words[before]} → {words[to]} at {at}{answer}"


def _show(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex() if len(value) == 16 else repr(value)[1:]  # noqa: PLR2004 - an id
    return "null" if value is None else value if isinstance(value, str) else repr(value)
