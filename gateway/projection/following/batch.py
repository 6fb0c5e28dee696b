"""Some records of the changelog, brought into the tables: newest of each key, in one transaction of the caller's.

A record may come before what it belongs to: compaction keeps the newest record of a key where it stands. A node whose
workflow is unknown, a chunk of history whose node is, and a node whose older chunks have not come, wait in a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from backbeat.gateway.projection.following.deactivation import settle
from backbeat.gateway.projection.following.deletion import TEXT_MIN, delete_nodes, delete_workflows
from backbeat.gateway.projection.following.incoming import Records
from backbeat.gateway.projection.following.statements import Rows, Statements
from backbeat.gateway.projection.reading.grams import METADATA, SUBJECTS, Grams
from backbeat.gateway.projection.storage import rows, states, tables
from backbeat.streams.core.records import Node, Workflow

_DAY_MS = 86_400_000
_CHUNK_CHANGES_MAX = 65_536


class _KnownWorkflow(NamedTuple):
    no: int
    user_key: int
    name_key: int
    created: int
    watermark: int
    sweeps: int


class _KnownNode(NamedTuple):
    no: int
    state: int
    chunk: int
    chunk_changes: int
    last_at: int


class Projector:
    """Writes batches on one connection. Numbers of rows go on from what the tables hold."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.statements = Statements(connection)
        self.grams = Grams(connection)
        self._next_workflow = self._next_number(tables.workflows)
        self._next_node = self._next_number(tables.nodes)
        self._waiting = connection.execute(select(func.count()).select_from(tables.waiting)).scalar_one()

    def _next_number(self, table: Any) -> int:
        highest: int | None = self._connection.execute(select(func.max(table.c.no))).scalar()
        return (highest or 0) + 1

    def apply(self, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Bring the records, of any partitions and oldest first, into the tables."""
        todo = Records(records)
        if self._waiting:
            self._drop_waiting(todo.gone)
            self._take_waiting(todo)
        _Work(self, todo).do()

    def _drop_waiting(self, gone: list[bytes]) -> None:
        """What was deleted need not wait any more."""
        found = self.statements.select(tables.waiting, "key", gone, "key")
        self._waiting -= len(found)
        self.statements.delete(tables.waiting, "key", [row.key for row in found])

    def _take_waiting(self, todo: Records) -> None:
        asked: set[bytes] = set()
        while subjects := todo.subjects() - asked:
            asked |= subjects
            found = self.statements.select(tables.waiting, "subject_id", list(subjects), "key", "value")
            self._waiting -= len(found)
            self.statements.delete(tables.waiting, "key", [row.key for row in found])
            for row in found:
                todo.add(row.key, row.value, waited=True)

    def put_waiting(self, waiting: Rows) -> None:
        """Keep records until what they wait for comes."""
        if waiting:
            self._waiting += len(waiting)
            self.statements.run(self.statements.put_waiting, waiting)

    def new_workflow(self) -> int:
        """The number of a new row."""
        self._next_workflow += 1
        return self._next_workflow - 1

    def new_node(self) -> int:
        """The number of a new row."""
        self._next_node += 1
        return self._next_node - 1


class _Work:
    """One batch."""

    def __init__(self, projector: Projector, todo: Records) -> None:
        self._projector = projector
        self._statements = projector.statements
        self._todo = todo
        self._decoded = {
            identity: rows.decode_node(value) for identity, (_, value) in todo.nodes.items() if value is not None
        }
        self._found = {
            identity: rows.decode_workflow(value) for identity, value in todo.workflows.items() if value is not None
        }
        self._workflows: dict[bytes, _KnownWorkflow] = {}
        self._nodes: dict[bytes, _KnownNode] = {}
        self._new_nodes: Rows = []
        self._bodies: Rows = []
        self._updates: Rows = []
        self._changes: Rows = []
        self._waits: Rows = []
        #: (workflow's number, state) -> how many nodes more
        self._moved: Counter[tuple[int, int]] = Counter()
        self._owners: dict[int, tuple[bytes, _KnownWorkflow]] = {}
        self._raised: set[bytes] = set()
        self._completed: Counter[int] = Counter()
        self._errored: Counter[int] = Counter()
        #: state -> how many nodes in it went with their workflow
        self._dropped: Counter[int] = Counter()

    def do(self) -> None:
        """Workflows, then nodes with their chunks, then what follows from both."""
        self._look_up()
        self._put_workflows()
        for identity, node in self._decoded.items():
            self._put_node(identity, node)
        self._keep_chunks()
        statements = self._statements
        statements.insert(tables.nodes, self._new_nodes)
        statements.insert(tables.node_bodies, self._bodies)
        statements.put_texts(
            "node_texts",
            [{"no": one["no"], "words": one["metadata"]} for one in self._bodies if len(one["metadata"]) >= TEXT_MIN],
        )
        self._projector.grams.add(statements, METADATA, (one["metadata"] for one in self._bodies))
        statements.run(statements.update_nodes, self._updates)
        statements.insert(tables.status_changes, self._changes)
        self._projector.put_waiting(self._waits)
        self._settle()
        self._delete_nodes()
        self._put_counts()

    def _look_up(self) -> None:
        workflow_ids = {*self._todo.workflows, *(node.workflow_id for node in self._decoded.values())}
        for row in self._statements.select(tables.workflows, "id", list(workflow_ids), "id", *_KnownWorkflow._fields):
            self._know(row[0], _KnownWorkflow(*row[1:]))
        self._drop_removed()
        node_ids = {*self._todo.nodes, *self._todo.chunks}
        for row in self._statements.select(tables.nodes, "id", list(node_ids), "id", *_KnownNode._fields):
            self._nodes[row[0]] = _KnownNode(*row[1:])

    def _know(self, identity: bytes, workflow: _KnownWorkflow) -> None:
        self._workflows[identity] = workflow
        self._owners[workflow.no] = (identity, workflow)

    # --- workflows -------------------------------------------------------------------------------------------------

    def _put_workflows(self) -> None:
        new: Rows = []
        changed: Rows = []
        names: Rows = []
        for identity, workflow in self._found.items():
            known = self._workflows.get(identity)
            row: dict[str, Any] = {
                "has_nodes": int(workflow.first_child is not None),
                "watermark": workflow.watermark,
                "sweeps": workflow.sweeps,
                "body": rows.workflow_body(workflow),
            }
            if known is None:
                known, more = self._new_workflow(workflow)
                new.append({**row, **more})
                key = {"user_key": known.user_key, "name_key": known.name_key}
                names.append({**key, "name": workflow.name.encode(errors="replace"), "workflows": 1})
            else:
                changed.append({**row, "b_no": known.no})
                if workflow.watermark > known.watermark:
                    self._raised.add(identity)
            self._know(identity, known._replace(watermark=workflow.watermark, sweeps=workflow.sweeps))
        statements = self._statements
        statements.insert(tables.workflows, new)
        texts = [{"no": one["no"], "words": one["subject"]} for one in new if len(one["subject"]) >= TEXT_MIN]
        statements.put_texts("workflow_texts", texts)
        self._projector.grams.add(statements, SUBJECTS, (one["subject"] for one in new))
        statements.run(statements.update_workflows, changed)
        statements.run(statements.add_names, names)

    def _new_workflow(self, workflow: Workflow) -> tuple[_KnownWorkflow, dict[str, Any]]:
        known = _KnownWorkflow(
            no=self._projector.new_workflow(),
            user_key=states.user_key(workflow.user_id),
            name_key=states.name_key(workflow.user_id, workflow.name),
            created=workflow.created_at,
            watermark=workflow.watermark,
            sweeps=workflow.sweeps,
        )
        return known, {
            "no": known.no,
            "id": workflow.id,
            "user_key": known.user_key,
            "name_key": known.name_key,
            "created": known.created,
            "subject": rows.json_text(workflow.subject),
        }

    # --- nodes -----------------------------------------------------------------------------------------------------

    def _put_node(self, identity: bytes, node: Node) -> None:
        workflow = self._workflows.get(node.workflow_id)
        key, value = self._todo.nodes[identity]
        if workflow is None:
            self._waits.append({"key": key, "subject_id": node.workflow_id, "value": value})
            return
        if node.created_at < workflow.created:
            return  # It belongs to an earlier workflow of the subject, and its deletion is on the way.
        known = self._nodes.get(identity)
        is_new = known is None
        if known is None:
            known = _KnownNode(self._projector.new_node(), 0, 0, 0, node.created_at)
        before = known.state
        user_key = states.user_key(node.user_id)
        owner_key = None if user_key == workflow.user_key else workflow.user_key
        known = self._read_history(known, node, user_key, owner_key)
        if known.chunk < node.history_chunks:
            # An older chunk has not come yet: what is newer waits for it.
            self._waits.append({"key": key, "subject_id": identity, "value": value})
        state = rows.state_of(node, states.had_of(known.state), workflow.watermark)
        self._nodes[identity] = known._replace(state=state)
        row: dict[str, Any] = {
            "state": state,
            "last_at": known.last_at,
            "chunk": known.chunk,
            "chunk_changes": known.chunk_changes,
            "deactivate_below": node.deactivate_below,
            "rest": rows.node_rest(node),
        }
        if is_new:
            self._new_nodes.append({**row, **_new_node(known.no, node, workflow.no, user_key)})
            text = rows.json_text(node.metadata)
            self._bodies.append({"no": known.no, "metadata": text, "body": rows.node_body(node)})
            self._moved[workflow.no, state] += 1
        else:
            self._updates.append({**row, "b_no": known.no})
            if state != before:
                self._moved[workflow.no, before] -= 1
                self._moved[workflow.no, state] += 1

    def _read_history(self, known: _KnownNode, node: Node, user_key: int, owner_key: int | None) -> _KnownNode:
        """Take the changes that are new; `state` of what is returned is good for the statuses had only."""
        chunks = self._todo.chunks.get(node.id, {})
        had, last_at = states.had_of(known.state), known.last_at
        number, begin = known.chunk, known.chunk_changes
        while True:
            # What lies in the node's own record becomes, as it is, the chunk of the next number.
            is_inline = number == node.history_chunks
            if not is_inline and number not in chunks:
                break
            content = node.history if is_inline else chunks[number][1]
            for place, code, at in rows.changes_in(content, begin):
                ordinal = number * _CHUNK_CHANGES_MAX + place
                self._changes.append(
                    {
                        "node_no": known.no,
                        "ordinal": ordinal,
                        "code": code,
                        "at": at,
                        "user_key": user_key,
                        "owner_key": owner_key,
                    }
                )
                had |= 1 << code
                last_at = max(last_at, at)
                begin = place + 1
                if code == states.COMPLETE_CODE:
                    self._completed[at // _DAY_MS] += 1
                elif code == states.ERRORED_CODE:
                    self._errored[at // _DAY_MS] += 1
            if is_inline:
                break
            number, begin = number + 1, 0
        state = states.pack(0, 0, waits=False, had=had)
        return known._replace(state=state, chunk=number, chunk_changes=begin, last_at=last_at)

    def _keep_chunks(self) -> None:
        """Chunks that are ahead of their node's record."""
        for identity, chunks in self._todo.chunks.items():
            known = self._nodes.get(identity)
            for number, (key, value) in chunks.items():
                if known is None or number >= known.chunk:
                    self._waits.append({"key": key, "subject_id": identity, "value": value})

    # --- what follows ----------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Marks that stand above nodes whose records do not know it yet."""
        touched = {*self._todo.workflows, *(node.workflow_id for node in self._decoded.values())}
        for identity in sorted(touched):
            known = self._workflows.get(identity)
            if known is not None and (known.sweeps > 0 or identity in self._raised):
                moved = settle(self._projector.statements, known.no, known.watermark)
                for before, after in moved:
                    self._moved[known.no, before] -= 1
                    self._moved[known.no, after] += 1

    def _put_counts(self) -> None:
        statements = self._statements
        more: Rows = []
        fewer: Rows = []
        total: Counter[int] = Counter({state: -count for state, count in self._dropped.items()})
        for (workflow_no, state), count in self._moved.items():
            if not count:
                continue
            total[state] += count
            identity, workflow = self._owners[workflow_no]
            more.append(
                {
                    "workflow_no": workflow_no,
                    "state": state,
                    "nodes": count,
                    "user_key": workflow.user_key,
                    "name_key": workflow.name_key,
                    "created": workflow.created,
                    "id": identity,
                }
            )
            if count < 0:
                fewer.append({"b_workflow_no": workflow_no, "b_state": state})
        statements.run(statements.add_workflow_states, more)
        statements.run(statements.drop_workflow_states, fewer)
        statements.run(statements.add_node_states, [{"state": s, "nodes": n} for s, n in sorted(total.items()) if n])
        days = sorted({*self._completed, *self._errored})
        statements.run(
            statements.add_days,
            [{"day": day, "completed": self._completed[day], "errored": self._errored[day]} for day in days],
        )

    # --- deletion --------------------------------------------------------------------------------------------------

    def _drop_removed(self) -> None:
        """Workflows that were removed go with all their nodes, though the nodes' own deletions may come later.

        Where another of the same subject has begun meanwhile, only that one's record may have come.
        """
        gone = {
            identity: known
            for identity, known in self._workflows.items()
            if identity in self._todo.workflows and not self._is_same(identity, known)
        }
        if not gone:
            return
        rows_of = self._statements.select(tables.nodes, "workflow_no", [known.no for known in gone.values()], "no")
        for row in delete_nodes(self._statements, [row.no for row in rows_of]):
            self._dropped[row.state] += 1
        delete_workflows(self._statements, [(known.no, known.user_key, known.name_key) for known in gone.values()])
        for identity in gone:
            del self._workflows[identity]

    def _is_same(self, identity: bytes, known: _KnownWorkflow) -> bool:
        found = self._found.get(identity)
        return found is not None and found.created_at == known.created

    def _delete_nodes(self) -> None:
        gone = [
            self._nodes[one].no for one, (_, value) in self._todo.nodes.items() if value is None and one in self._nodes
        ]
        if not gone:
            return
        found = delete_nodes(self._statements, gone)
        owners = [row.workflow_no for row in found]
        for row in self._statements.select(tables.workflows, "no", owners, "id", *_KnownWorkflow._fields):
            self._know(row[0], _KnownWorkflow(*row[1:]))
        for row in found:
            if row.workflow_no in self._owners:
                self._moved[row.workflow_no, row.state] -= 1


def _new_node(number: int, node: Node, workflow_no: int, user_key: int) -> dict[str, Any]:
    return {
        "no": number,
        "id": node.id,
        "workflow_no": workflow_no,
        "user_key": user_key,
        "name_key": states.name_key(node.user_id, node.name),
        "created": node.created_at,
        "seq": node.seq,
        "parent_id": node.parent_id,
    }
