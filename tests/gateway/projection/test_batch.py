"""What records of the changelog become in the tables."""

from __future__ import annotations

import random
import uuid

import pytest
from sqlalchemy import inspect, text

from backbeat.gateway.projection import NodeFilters, WorkflowFilters
from backbeat.gateway.projection.following.batch import Projector
from backbeat.gateway.projection.following.changelog import OffsetRange
from backbeat.gateway.projection.following.follower import _make_whole, _prepare, _write
from backbeat.gateway.projection.following.statements import Statements
from backbeat.gateway.projection.reading import search
from backbeat.gateway.projection.reading.lists import counts, workflow_names
from backbeat.gateway.projection.storage import facts, tables
from backbeat.gateway.projection.storage.database import ProjectionError, parse_url
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.schemas.messages.values import TimerKind
from tests.gateway.projection import records

USER = uuid.UUID(int=7).bytes
S, C = ServerStatus, ClientStatus


@pytest.fixture
def projector(connection):
    with connection.begin():
        return Projector(connection)


def apply(connection, projector, *given):
    with connection.begin():
        projector.apply(given)


def rows(connection):
    with connection.begin():
        return facts.count_rows(connection)


def made(**more):
    workflow = records.workflow(USER, "flow", b'{"id":1}', 5)
    node = records.node(workflow, 1, 6, metadata=b'{"place":"here"}', **more)
    workflow.first_child = node.id
    return workflow, node


def test_the_indexes_of_searches_come_with_the_last_record_of_a_new_projection(connection):
    def missing() -> set[str]:
        inspector = inspect(connection)
        return {
            str(index.name)
            for table in tables.metadata.sorted_tables
            for index in table.indexes
            if index.name not in {known["name"] for known in inspector.get_indexes(table.name)}
        }

    workflow, node = made()
    with connection.begin():
        recorded, _ = _prepare(connection, "another topic", {})
        projector = Projector(connection)
        assert not recorded.whole
        assert {"nodes_of_user", "changes_of_user", "workflows_in_state"} <= missing()
        assert {"nodes_id", "workflows_id", "nodes_of_workflow", "waiting_for"}.isdisjoint(missing())
    _write(connection, projector, [records.record(workflow)], {0: 1})
    # Begun anew in between: the same tables go on.
    with connection.begin():
        _, positions = _prepare(connection, "another topic", {0: OffsetRange(0, 2)})
        assert positions == {0: 1}
        assert missing()
    _write(connection, projector, [records.record(node)], {0: 2})
    # Stopped between two indexes: what was made is there, the rest comes at the next start.
    with connection.begin():
        missing_before = missing()
    looks = iter([False] * (len(tables._LOOKED_UP) + 1) + [True])
    assert not _make_whole(connection, projector, lambda: next(looks))
    with connection.begin():
        assert not facts.read_facts(connection).whole
        assert missing() < missing_before
    assert _make_whole(connection, projector, lambda: False)
    with connection.begin():
        assert facts.read_facts(connection).whole
        assert missing() == set()


def test_a_history_that_grows_is_read_from_where_it_was(connection, projector):
    workflow, node = made()
    apply(connection, projector, records.record(workflow))
    for number in range(1, 6):
        node.history = records.packed(*[(S.STARTED, at) for at in range(number)])
        apply(connection, projector, records.record(node))
        assert rows(connection)["status_changes"] == number
    # It moves to a chunk, and a new one begins, as in one commit of an engine: the node's record comes first.
    chunk = node.history + records.packed((C.COMPLETE, 9))
    node.history, node.history_chunks = records.packed((S.COMPLETE, 10)), 1
    apply(connection, projector, records.record(node))
    assert rows(connection)["waiting"] == 1
    apply(connection, projector, records.chunk(node, 0, chunk))
    assert rows(connection) == {"workflows": 1, "nodes": 1, "status_changes": 7, "waiting": 0}
    with connection.begin():
        assert counts(connection).completed == 1
    # The same again changes nothing.
    apply(connection, projector, records.chunk(node, 0, chunk), records.record(node), records.record(workflow))
    assert rows(connection) == {"workflows": 1, "nodes": 1, "status_changes": 7, "waiting": 0}


def test_tombstones_leave_nothing(connection, projector):
    workflow, node = made(history=records.packed((S.STARTED, 7)))
    apply(connection, projector, records.record(workflow), records.record(node))
    assert rows(connection) == {"workflows": 1, "nodes": 1, "status_changes": 1, "waiting": 0}
    apply(connection, projector, (records.record(node)[0], None), (records.record(workflow)[0], None))
    assert rows(connection) == {"workflows": 0, "nodes": 0, "status_changes": 0, "waiting": 0}
    with connection.begin():
        assert workflow_names(connection, USER) == []
        assert search.search_nodes(connection, USER, NodeFilters(metadata_contains="here")) == []
        assert search.search_workflows(connection, USER, WorkflowFilters(subject_contains="id")) == []
        assert search.all_states(connection) == []
        assert connection.execute(text("SELECT count(*) FROM workflow_states")).scalar() == 0
    # And it can come again.
    apply(connection, projector, records.record(workflow), records.record(node))
    with connection.begin():
        (match,) = search.search_nodes(connection, USER, NodeFilters(metadata_contains="here"))
        assert (match.id, match.metadata, match.workflow_name) == (node.id, b'{"place":"here"}', "flow")


def test_other_records_are_passed_over(connection, projector):
    link, schedule = b"w" + bytes(7) + b"l" + bytes(25), b"c" + bytes(16)
    apply(connection, projector, (b"m", b"x"), (b"i" + bytes(16), b"x"), (link, b"x"), (schedule, b"x"))
    assert rows(connection) == {"workflows": 0, "nodes": 0, "status_changes": 0, "waiting": 0}


def test_nodes_are_counted_by_where_they_are(connection, projector):
    workflow, _ = made()
    nodes = [
        records.node(workflow, 1, 6, server=S.STARTED, timer_at=99, timer_kind=TimerKind.START),
        records.node(workflow, 2, 6, server=S.STARTED),
        records.node(workflow, 3, 6, server=S.SENT_TO_CLIENT, client=C.RECEIVED),
        records.node(workflow, 4, 6, server=S.RETRYING, client=C.ERRORED, history=records.packed((C.ERRORED, 1))),
        records.node(workflow, 5, 6, server=S.COMPLETE, history=records.packed((S.COMPLETE, facts.now_ms()))),
    ]
    apply(connection, projector, records.record(workflow), *map(records.record, nodes))
    with connection.begin():
        match = counts(connection)
    assert (match.scheduled, match.enqueued, match.retrying) == (1, 2, 1)
    assert (match.completed, match.completed_today, match.errored, match.errored_today) == (1, 1, 1, 0)


def test_marks_count_before_the_records_know_them(connection, projector):
    workflow, top = made()
    below = [records.node(workflow, seq, 6, parent_id=top.id) for seq in (2, 3)]
    deeper = records.node(workflow, 4, 6, parent_id=below[0].id)
    later = records.node(workflow, 9, 6, parent_id=top.id)
    apply(connection, projector, *map(records.record, (workflow, top, *below, deeper, later)))
    workflow.sweeps, top.deactivate_below = 1, 9
    apply(connection, projector, records.record(workflow), records.record(top))

    assert deactivated_seqs(connection) == {2, 3, 4}
    # A record that is written meanwhile for another reason changes nothing about it.
    apply(connection, projector, records.record(deeper))
    assert deactivated_seqs(connection) == {2, 3, 4}
    workflow.watermark = 10
    apply(connection, projector, records.record(workflow))
    assert deactivated_seqs(connection) == {1, 2, 3, 4, 9}


def deactivated_seqs(connection):
    with connection.begin():
        asked = NodeFilters(current_status="deactivated", per_page=1_000)
        return {node.seq for node in search.search_nodes(connection, USER, asked)}


@pytest.mark.parametrize("seed", range(12))
def test_marks_count_whatever_the_batches(connection, projector, seed):
    """Nodes are made, written again and marked, in batches of any size; marks of a bulk load count at its end."""
    choose = random.Random(seed)
    workflow, top = made()
    workflow.sweeps = 1
    nodes = [top]
    projector.is_whole = seed % 3 > 0
    apply(connection, projector, records.record(workflow), records.record(top))
    for _ in range(25):
        written = [workflow]
        for _ in range(choose.randint(1, 6)):
            kind = choose.choice(["make", "make", "make", "again", "mark", "watermark"])
            if kind == "make":
                written.append(records.node(workflow, len(nodes) + 1, 6, parent_id=choose.choice(nodes).id))
                nodes.append(written[-1])
            elif kind == "watermark":
                workflow.watermark = max(workflow.watermark, choose.randint(0, len(nodes) // 4))
            else:
                written.append(choose.choice(nodes))
                if kind == "mark":
                    written[-1].deactivate_below = len(nodes) + 1
        apply(connection, projector, *map(records.record, written))
        if projector.is_whole:
            assert deactivated_seqs(connection) == _below_marks(workflow, nodes)
    with connection.begin():
        projector.become_whole()
        total = connection.execute(text("SELECT SUM(nodes) FROM workflow_states")).scalar()
    assert deactivated_seqs(connection) == _below_marks(workflow, nodes)
    assert total == len(nodes)


def _below_marks(workflow, nodes):
    marks = {}
    for node in nodes:
        marks[node.id] = max(marks.get(node.parent_id, 0), node.deactivate_below)
    return {node.seq for node in nodes if node.seq < max(marks.get(node.parent_id, 0), workflow.watermark)}


def test_a_batch_reads_few_nodes_of_a_workflow_that_is_swept(connection, projector, monkeypatch):
    workflow, top = made()
    below = [records.node(workflow, seq, 6, parent_id=top.id) for seq in range(2, 402)]
    apply(connection, projector, *map(records.record, (workflow, top, *below)))
    workflow.sweeps, top.deactivate_below = 1, 500
    apply(connection, projector, records.record(workflow), records.record(top))
    assert len(deactivated_seqs(connection)) == 400
    rows_read = 0
    real = Statements.select

    def counted(statements, *given, **more):
        nonlocal rows_read
        result = real(statements, *given, **more)
        rows_read += len(result)
        return result

    monkeypatch.setattr(Statements, "select", counted)
    later = records.node(workflow, 501, 6, parent_id=below[0].id)
    apply(connection, projector, *map(records.record, (workflow, below[7], later)))
    assert 0 < rows_read < 20
    assert len(deactivated_seqs(connection)) == 400


def grown(created=5):
    """A workflow of two nodes, and all of its records."""
    workflow, node = made()
    workflow.created_at = created
    node.created_at, node.history_chunks = created + 1, 1
    below = records.node(workflow, 2, created + 1, parent_id=node.id)
    chunk = records.chunk(node, 0, records.packed((S.STARTED, 1)))
    return [records.record(workflow), records.record(node), records.record(below), chunk]


def tombstones(given):
    return [(key, None) for key, _ in given]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_workflow_that_is_removed_leaves_nothing(connection, projector, size):
    given = grown()
    stream = [*given, *tombstones(given)]
    for begin in range(0, len(stream), size):
        apply(connection, projector, *stream[begin : begin + size])
    assert rows(connection) == {"workflows": 0, "nodes": 0, "status_changes": 0, "waiting": 0}
    with connection.begin():
        assert workflow_names(connection, USER) == []
        left = connection.execute(text("SELECT COUNT(*) FROM workflow_states")).scalar()
        states_left = connection.execute(text("SELECT COUNT(*) FROM node_states WHERE nodes <> 0")).scalar()
    assert (left, states_left) == (0, 0)


@pytest.mark.parametrize("seed", range(8))
def test_deletions_that_come_before_what_they_delete_waits_for(connection, projector, seed):
    """Compaction leaves a node whose workflow's record is gone: it waits, until its own deletion comes."""
    given = grown()
    for row in records.shuffled(given[1:], seed):
        apply(connection, projector, row)
    for row in records.shuffled(tombstones(given), seed):
        apply(connection, projector, row)
    assert rows(connection) == {"workflows": 0, "nodes": 0, "status_changes": 0, "waiting": 0}


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("announced", [True, False])
def test_a_subject_that_begins_again_between_the_slices_of_a_removal(connection, projector, size, announced):
    first = grown()
    again, node = made()
    again.created_at, node.id, node.created_at = 50, bytes(15) + b"n", 51
    again.first_child = node.id
    left_over = first[1]
    stream = [*first, *tombstones(first[:1] if announced else []), records.record(again)]
    stream += [*tombstones(first[2:]), left_over, records.record(node), *tombstones(first[1:2])]
    for begin in range(0, len(stream), size):
        apply(connection, projector, *stream[begin : begin + size])
    assert rows(connection) == {"workflows": 1, "nodes": 1, "status_changes": 0, "waiting": 0}
    with connection.begin():
        (match,) = search.search_workflows(connection, USER, WorkflowFilters(name="flow"))
        (only,) = search.search_nodes(connection, USER, NodeFilters(name="node"))
        counted = connection.execute(text("SELECT workflow_states.nodes, created FROM workflow_states")).all()
        total = connection.execute(text("SELECT SUM(nodes) FROM node_states")).scalar()
    assert (match.created_at, only.id, counted, total) == (50, node.id, [(1, 50)], 1)


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "sqlite://", "sqlite:///:memory:"])
def test_what_is_no_database_is_refused_with_words(url):
    with pytest.raises(ProjectionError, match="What to do"):
        parse_url(url)


def test_postgresql_is_served_by_psycopg():
    assert parse_url("postgres://u@h/d").drivername == "postgresql+psycopg"
    assert parse_url("postgresql://u@h/d").drivername == "postgresql+psycopg"
