"""A batch of changelog records applied to the tables: the newest of each key, in one transaction of the caller's.

A record may arrive before one that it depends on: compaction keeps the newest record of a key where it stands. A node
with an unknown workflow, a history chunk with an unknown node, and a node without its older chunks wait in a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, func, select

from backbeat.gateway.projection.following.counts import Counts
from backbeat.gateway.projection.following.deactivation import (
    Transition,
    deactivate_all_below_marks,
    deactivate_below_marks,
    deactivate_older,
)
from backbeat.gateway.projection.following.deletion import TEXT_MIN, delete_nodes, delete_workflows
from backbeat.gateway.projection.following.failures import Failures
from backbeat.gateway.projection.following.incoming import Records
from backbeat.gateway.projection.following.siblings import FIRST_SEQ, Siblings, count_all
from backbeat.gateway.projection.following.statements import NODE_CHANGES, Rows, Statements
from backbeat.gateway.projection.following.table_rows import NodeRow, WorkflowRow, name_row, new_node_row
from backbeat.gateway.projection.reading.grams import METADATA, SUBJECTS, Grams
from backbeat.gateway.projection.storage import rows, states, tables
from backbeat.streams.core.records import Node, Workflow

_DAY_MS = 86_400_000
_CHUNK_CHANGES_MAX = 65_536
_NO_CHUNKS: Mapping[int, tuple[bytes, bytes]] = {}


class Projector:
    """Writer of batches on one connection. Row numbers continue from those in the tables."""

    def __init__(self, connection: Connection, *, is_whole: bool = True) -> None:
        """`is_whole`: not in a bulk load, so the tables have all of their indexes."""
        self.is_whole = is_whole
        self._connection = connection
        self.statements = Statements(connection)
        self.grams = Grams(connection)
        self.counted_parents: set[bytes] = set()
        self._next_workflow = self._next_number(tables.workflows)
        self._next_node = self._next_number(tables.nodes)
        self._waiting = connection.execute(select(func.count()).select_from(tables.waiting)).scalar_one()

    def _next_number(self, table: Any) -> int:
        highest: int | None = self._connection.execute(select(func.max(table.c.no))).scalar()
        return (highest or 0) + 1

    def apply(self, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Apply records, of any partitions, oldest first."""
        batch = Records(records)
        if self._waiting:
            self._drop_waiting(batch.deleted_keys)
            self._take_waiting(batch)
        _BatchWriter(self, batch).write()

    def become_whole(self) -> None:
        """Do what a bulk load leaves to its end: apply marks (it may read a node before what is above it), count."""
        _BatchWriter(self, Records(())).deactivate_all()
        count_all(self._connection)
        self.is_whole = True

    def _drop_waiting(self, deleted_keys: list[bytes]) -> None:
        """Records of deleted keys need not wait any more."""
        waiting = self.statements.select(tables.waiting, "key", deleted_keys, "key")
        self._waiting -= len(waiting)
        self.statements.delete(tables.waiting, "key", [row.key for row in waiting])

    def _take_waiting(self, batch: Records) -> None:
        looked_up: set[bytes] = set()
        while subjects := batch.subjects() - looked_up:
            looked_up |= subjects
            waiting = self.statements.select(tables.waiting, "subject_id", list(subjects), "key", "value")
            self._waiting -= len(waiting)
            self.statements.delete(tables.waiting, "key", [row.key for row in waiting])
            for row in waiting:
                batch.add(row.key, row.value, waited=True)

    def put_waiting(self, waiting: Rows) -> None:
        """Store records until those that they depend on arrive."""
        if waiting:
            self._waiting += len(waiting)
            self.statements.run(self.statements.put_waiting, waiting)

    def new_workflow(self) -> int:
        """Number of a new row."""
        self._next_workflow += 1
        return self._next_workflow - 1

    def new_node(self) -> int:
        """Number of a new row."""
        self._next_node += 1
        return self._next_node - 1


class _BatchWriter:
    """Write of one batch."""

    def __init__(self, projector: Projector, records: Records) -> None:
        self._projector = projector
        self._statements = projector.statements
        self._records = records
        self._node_records = {
            identity: rows.decode_node(value) for identity, (_, value) in records.nodes.items() if value is not None
        }
        self._workflow_records = {
            identity: rows.decode_workflow(value) for identity, value in records.workflows.items() if value is not None
        }
        self._workflows: dict[bytes, WorkflowRow] = {}
        self._nodes: dict[bytes, NodeRow] = {}
        # Rows in the order of their tables' columns.
        self._new_nodes: list[tuple[Any, ...]] = []
        self._bodies: list[tuple[int, str, bytes]] = []
        self._changes: list[tuple[int, int, int, int, int, int | None]] = []
        #: `NODE_CHANGES` of nodes that the tables have.
        self._updates: list[tuple[Any, ...]] = []
        self._failures = Failures()
        self._waits: Rows = []
        self._counts = Counts()
        self._siblings = Siblings(projector.counted_parents)
        #: Workflow -> its watermark before this batch, where it was raised.
        self._raised: dict[bytes, int] = {}
        #: Nodes that a mark above them may deactivate, and those of them from which to go down, too.
        self._node_ids: list[bytes] = []
        self._root_ids: list[bytes] = []

    def write(self) -> None:
        """Write workflows, then nodes with their chunks, then what depends on both."""
        self._look_up()
        self._put_workflows()
        for identity, node in self._node_records.items():
            self._put_node(identity, node)
        self._keep_chunks()
        statements = self._statements
        statements.insert_values(tables.nodes, self._new_nodes)
        statements.insert_values(tables.node_bodies, self._bodies)
        statements.put_texts(
            "node_texts", [{"no": no, "words": text} for no, text, _ in self._bodies if len(text) >= TEXT_MIN]
        )
        self._projector.grams.add(statements, METADATA, (text for _, text, _ in self._bodies))
        statements.run_values(statements.update_nodes, NODE_CHANGES, self._updates)
        statements.insert_values(tables.status_changes, self._changes)
        self._failures.write(statements)
        self._projector.put_waiting(self._waits)
        self._deactivate_ahead()
        self._delete_nodes()
        self._counts.write(self._statements)
        if self._projector.is_whole:
            self._siblings.write(self._statements)

    def _look_up(self) -> None:
        workflow_ids = {*self._records.workflows, *(node.workflow_id for node in self._node_records.values())}
        for row in self._statements.select(tables.workflows, "id", list(workflow_ids), "id", *WorkflowRow._fields):
            self._add_workflow_row(row[0], WorkflowRow(*row[1:]))
        self._drop_removed()
        node_ids = {*self._records.nodes, *self._records.chunks}
        for row in self._statements.select(tables.nodes, "id", list(node_ids), "id", *NodeRow._fields):
            self._nodes[row[0]] = NodeRow(*row[1:])

    def _add_workflow_row(self, identity: bytes, workflow_row: WorkflowRow) -> None:
        self._workflows[identity] = workflow_row
        self._counts.owners[workflow_row.no] = identity, workflow_row

    # --- workflows -------------------------------------------------------------------------------------------------

    def _put_workflows(self) -> None:
        new: Rows = []
        changed: Rows = []
        names: dict[tuple[int, int], dict[str, Any]] = {}
        for identity, workflow in self._workflow_records.items():
            workflow_row = self._workflows.get(identity)
            columns: dict[str, Any] = {
                "has_nodes": int(workflow.first_child is not None),
                "watermark": workflow.watermark,
                "sweeps": workflow.sweeps,
                "body": rows.workflow_body(workflow),
            }
            if workflow_row is None:
                workflow_row, key_columns = self._new_workflow(workflow)
                new.append({**columns, **key_columns})
                key = workflow_row.user_key, workflow_row.name_key
                if key not in names:
                    names[key] = name_row(*key, workflow.name.encode(errors="replace"))
                names[key]["workflows"] += 1
            else:
                changed.append({**columns, "b_no": workflow_row.no})
                if workflow.watermark > workflow_row.watermark:
                    self._raised[identity] = workflow_row.watermark
            self._add_workflow_row(
                identity, workflow_row._replace(watermark=workflow.watermark, sweeps=workflow.sweeps)
            )
        statements = self._statements
        statements.insert(tables.workflows, new)
        texts = [{"no": row["no"], "words": row["subject"]} for row in new if len(row["subject"]) >= TEXT_MIN]
        statements.put_texts("workflow_texts", texts)
        self._projector.grams.add(statements, SUBJECTS, (row["subject"] for row in new))
        statements.run(statements.update_workflows, changed)
        statements.run(statements.add_names, list(names.values()))

    def _new_workflow(self, workflow: Workflow) -> tuple[WorkflowRow, dict[str, Any]]:
        workflow_row = WorkflowRow(
            no=self._projector.new_workflow(),
            user_key=states.user_key(workflow.user_id),
            name_key=states.name_key(workflow.user_id, workflow.name),
            created=workflow.created_at,
            watermark=workflow.watermark,
            sweeps=workflow.sweeps,
        )
        return workflow_row, {
            "no": workflow_row.no,
            "id": workflow.id,
            "user_key": workflow_row.user_key,
            "name_key": workflow_row.name_key,
            "created": workflow_row.created,
            "subject": rows.json_text(workflow.subject),
        }

    # --- nodes -----------------------------------------------------------------------------------------------------

    def _put_node(self, identity: bytes, node: Node) -> None:
        workflow = self._workflows.get(node.workflow_id)
        if workflow is None:
            key, value = self._records.nodes[identity]
            self._waits.append({"key": key, "subject_id": node.workflow_id, "value": value})
            return
        if node.created_at < workflow.created:
            return  # An earlier workflow's node; its deletion is on the way.
        known_row = self._nodes.get(identity)
        row = known_row or NodeRow(self._projector.new_node(), 0, 0, 0, node.created_at, 0)
        state_before = row.state
        user_key = states.user_key(node.user_id)
        owner_key = None if user_key == workflow.user_key else workflow.user_key
        past_statuses, chunk, chunk_changes, last_at = self._read_history(row, node, user_key, owner_key)
        if chunk < node.history_chunks:
            # Older chunks have not arrived: newer ones wait for them.
            key, value = self._records.nodes[identity]
            self._waits.append({"key": key, "subject_id": identity, "value": value})
        state = rows.state_of(node, past_statuses, workflow.watermark)
        no = row.no
        has_newer_mark = node.deactivate_below > row.deactivate_below
        if has_newer_mark or workflow.sweeps > 0:
            self._node_ids.append(identity)
            if has_newer_mark or known_row is None:
                self._root_ids.append(identity)
        self._nodes[identity] = row = NodeRow(no, state, chunk, chunk_changes, last_at, node.deactivate_below)
        if states.has_failed(state) or states.has_failed(state_before):
            chunks = {number: content for number, (_, content) in self._records.chunks.get(identity, {}).items()}
            self._failures.note(no, node, workflow.no, (state_before, state), chunks)
        rest = rows.node_rest(node)
        if known_row is None:
            self._new_nodes.append(new_node_row(row, node, workflow.no, user_key, rest))
            self._bodies.append((no, rows.json_text(node.metadata), rows.node_body(node)))
            self._counts.nodes[workflow.no, state] += 1
            if node.seq >= FIRST_SEQ and node.parent_id is not None:
                self._siblings.add(node.parent_id, states.name_key(node.user_id, node.name), state)
        else:
            pool_key = rows.pool_key(node, state)
            self._updates.append((pool_key, state, last_at, chunk, chunk_changes, node.deactivate_below, rest, no))
            if state != state_before:
                name_key = states.name_key(node.user_id, node.name)
                self._move([Transition(workflow.no, node.parent_id, node.seq, name_key, state_before, state)])

    def _read_history(
        self, row: NodeRow, node: Node, user_key: int, owner_key: int | None
    ) -> tuple[int, int, int, int]:
        """Add new changes; all past statuses, and `chunk`, `chunk_changes` and `last_at` of the row that follows."""
        chunks = self._records.chunks.get(node.id, _NO_CHUNKS)
        no, state, number, begin, last_at, _ = row
        past_statuses = states.had_of(state)
        # Names of this function alone: what follows runs some times a node.
        unpack, head_bytes, same_response = rows.HISTORY_HEAD.unpack_from, rows.HISTORY_HEAD.size, rows.SAME_RESPONSE
        server, server_codes, days_of = rows.SERVER, states.SERVER_CODES, self._counts.days_of
        add = self._changes.append
        while True:
            # The history in the node's own record becomes, unchanged, the chunk of the next number.
            is_inline = number == node.history_chunks
            if not is_inline and number not in chunks:
                break
            content = node.history if is_inline else chunks[number][1]
            position, end = 0, len(content)
            ordinal = first = number * _CHUNK_CHANGES_MAX
            unread = first + begin
            # Heads only: responses are not needed, and large.
            while position < end:
                machine, _, code, at, length = unpack(content, position)
                position += head_bytes if length == same_response else head_bytes + length
                if ordinal >= unread:
                    if machine == server:
                        code += server_codes
                    add((no, ordinal, code, at, user_key, owner_key))
                    past_statuses |= 1 << code
                    if at > last_at:  # noqa: PLR1730 - `max` takes three times as long
                        last_at = at
                    if code in days_of:
                        days_of[code][at // _DAY_MS] += 1
                ordinal += 1
            begin = max(begin, ordinal - first)
            if is_inline:
                break
            number, begin = number + 1, 0
        return past_statuses, number, begin, last_at

    def _keep_chunks(self) -> None:
        """Store the chunks that are ahead of their node's record."""
        for identity, chunks in self._records.chunks.items():
            node_row = self._nodes.get(identity)
            for number, (key, value) in chunks.items():
                if node_row is None or number >= node_row.chunk:
                    self._waits.append({"key": key, "subject_id": identity, "value": value})

    # --- derived rows -----------------------------------------------------------------------------------------------

    def _deactivate_ahead(self) -> None:
        """Apply watermarks and marks to nodes whose records do not show them yet."""
        for identity, watermark_before in self._raised.items():
            row = self._workflows[identity]
            watermarks = watermark_before, row.watermark
            self._move(deactivate_older(self._statements, row.no, watermarks))
        if self._node_ids and self._projector.is_whole:
            self._move(deactivate_below_marks(self._statements, self._node_ids, self._root_ids))

    def _move(self, transitions: Iterable[Transition]) -> None:
        transitions = list(transitions)
        self._counts.move(transitions)
        self._siblings.move(transitions)

    def deactivate_all(self) -> None:
        """Apply the marks of every workflow that is being swept."""
        for row in self._statements.swept_workflows("id", *WorkflowRow._fields):
            workflow_row = WorkflowRow(*row[1:])
            self._add_workflow_row(row[0], workflow_row)
            self._counts.move(deactivate_all_below_marks(self._statements, workflow_row.no))
        self._counts.write(self._statements)

    # --- deletion --------------------------------------------------------------------------------------------------

    def _drop_removed(self) -> None:
        """Delete removed workflows with all their nodes, though the nodes' own deletions may come later.

        If another of the same subject has begun since, only its record may have come.
        """
        removed = {
            identity: workflow_row
            for identity, workflow_row in self._workflows.items()
            if identity in self._records.workflows and not self._is_same(identity, workflow_row)
        }
        if not removed:
            return
        rows_of = self._statements.select(
            tables.nodes, "workflow_no", [workflow_row.no for workflow_row in removed.values()], "no"
        )
        for row in delete_nodes(self._statements, [row.no for row in rows_of]):
            self._counts.deleted_states[row.state] += 1
            self._siblings.remove(row.parent_id, row.seq, row.name_key, row.state)
        delete_workflows(
            self._statements,
            [(workflow_row.no, workflow_row.user_key, workflow_row.name_key) for workflow_row in removed.values()],
        )
        for identity in removed:
            del self._workflows[identity]

    def _is_same(self, identity: bytes, workflow_row: WorkflowRow) -> bool:
        workflow = self._workflow_records.get(identity)
        return workflow is not None and workflow.created_at == workflow_row.created

    def _delete_nodes(self) -> None:
        numbers = [
            self._nodes[identity].no
            for identity, (_, value) in self._records.nodes.items()
            if value is None and identity in self._nodes
        ]
        if not numbers:
            return
        deleted = delete_nodes(self._statements, numbers)
        owners = [row.workflow_no for row in deleted]
        for row in self._statements.select(tables.workflows, "no", owners, "id", *WorkflowRow._fields):
            self._add_workflow_row(row[0], WorkflowRow(*row[1:]))
        for row in deleted:
            if row.workflow_no in self._counts.owners:
                self._counts.nodes[row.workflow_no, row.state] -= 1
            self._siblings.remove(row.parent_id, row.seq, row.name_key, row.state)
