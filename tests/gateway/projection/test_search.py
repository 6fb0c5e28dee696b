"""Searches on both databases against a naive reading of the rules, over rows and filters that Hypothesis draws."""

from __future__ import annotations

import uuid
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from backbeat.gateway.projection import NodeFilters, WorkflowFilters
from backbeat.gateway.projection.following.batch import Projector
from backbeat.gateway.projection.reading import search, several
from backbeat.gateway.projection.reading.lists import error_workflows, workflow_names
from backbeat.gateway.projection.reading.workflow_nodes import newest_number, states_of_workflows
from backbeat.gateway.projection.storage import states, tables
from backbeat.gateway.projection.storage.database import open_engine, parse_url
from backbeat.gateway.projection.storage.facts import build_anew
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.status import Bucket, ClientStatus, ServerStatus, word
from tests.gateway.projection import records
from tests.gateway.projection.naive import World

USERS = [uuid.UUID(int=number + 1).bytes for number in range(2)]
TEXTS = [b"{}", b'{"a":"100%"}', b'{"a":"x_y"}', '{"Ä":"Öl \U0001f600"}'.encode(), b'{"q":"\\"it\\""}', b'{"A":"XAY"}']
NEEDLES = ["a", "%", "_", "x_y", "xay", "XAY", '"a":"', "Öl \U0001f600", '\\"it', "nothing", "{}", "0%", "ä", "a\0b"]
NAMES = ["Pay", "pay", "Ship", "with\0nul"]
STATUSES = [*ServerStatus, *ClientStatus]
WORDS = sorted({word(status) for status in STATUSES} | set(Bucket) | {"nonsense"})
TIDS = ["", "3f2a9c1", "0000001"]
KEYS = ["", '"bank-2"', '"bank-7"']
TIMES = st.integers(0, 12)


@pytest.fixture
def engine(database_url):
    engine = open_engine(parse_url(database_url))
    with engine.begin() as connection:
        build_anew(connection, "topic")
    yield engine
    engine.dispose()


@st.composite
def worlds(draw):
    workflows, nodes, chunks = [], [], {}
    for number in range(draw(st.integers(1, 4))):
        user = draw(st.sampled_from(USERS))
        subject = b'{"n":%d,"t":%s}' % (number, draw(st.sampled_from(TEXTS)))
        count = draw(st.integers(0, 5))
        workflow = records.workflow(user, draw(st.sampled_from(NAMES)), subject, draw(TIMES))
        workflow.watermark = draw(st.sampled_from([0, 0, 0, 2]))
        for place in range(count):
            name, user_id = draw(st.sampled_from(NAMES)), draw(st.sampled_from([user, user, USERS[0]]))
            pools = [ids.pool_id(user_id, name, key) for key in KEYS]
            of_workflow = [each for each in nodes if each.workflow_id == workflow.id]
            node = records.node(
                workflow,
                place + 1,
                workflow.created_at + draw(TIMES),
                name=name,
                parent_id=draw(st.sampled_from([None, *(row.id for row in of_workflow)])),
                tid=draw(st.sampled_from(TIDS)),
                slot=draw(st.sampled_from([None, *pools])),
                metadata=draw(st.sampled_from(TEXTS)),
                user_id=user_id,
                server=draw(st.sampled_from(ServerStatus)),
                client=draw(st.sampled_from(ClientStatus)),
            )
            # Time never goes back: nothing happens to a node before it is made.
            times = st.integers(node.created_at, node.created_at + 12)
            parts = [
                records.packed(*draw(st.lists(st.tuples(st.sampled_from(STATUSES), times), max_size=3)))
                for _ in range(draw(st.sampled_from([1, 1, 2, 3])))
            ]
            *older, node.history = parts
            node.history_chunks = len(older)
            chunks.update({(node.id, index): content for index, content in enumerate(older)})
            nodes.append(node)
            workflow.first_child = workflow.first_child or node.id
        workflows.append(workflow)
    return World(workflows, nodes, chunks)


@st.composite
def filters(draw, kind, ids_, workflow_ids=()):
    def maybe(strategy):
        return draw(st.one_of(st.none(), st.none(), strategy))

    text = "metadata_contains" if kind is NodeFilters else "subject_contains"
    return kind(
        name=maybe(st.sampled_from(NAMES)),
        current_status=maybe(st.sampled_from(WORDS)),
        past_status=maybe(st.sampled_from(WORDS)),
        status_start_ms=maybe(st.integers(0, 36)),
        status_end_ms=maybe(st.integers(0, 36)),
        per_page=draw(st.sampled_from([25, 25, 2, 1, 0])),
        page=draw(st.sampled_from([1, 1, 2, 3])),
        last_id=maybe(st.sampled_from([*ids_, bytes(16)])),
        # A position need not be that of a row of this user, nor of any.
        older_than=maybe(st.tuples(TIMES, st.sampled_from([*ids_, bytes(16)]))),
        created_start_ms=maybe(TIMES),
        created_end_ms=maybe(st.integers(0, 24)),
        tid=maybe(st.sampled_from(TIDS)),
        slot=maybe(st.sampled_from(NAMES)),
        slot_key=maybe(st.sampled_from(KEYS)),
        **(
            {
                "newest_first": draw(st.booleans()),
                "workflow_id": maybe(st.sampled_from([*workflow_ids, bytes(16)])),
                "parent_id": maybe(st.sampled_from([*ids_, bytes(16)])),
                "unchanged_since_ms": maybe(st.integers(0, 36)),
            }
            if kind is NodeFilters
            else {}
        ),
        **{text: maybe(st.sampled_from(NEEDLES))},
    )


def empty(connection):
    """Quicker than to make the tables anew."""
    for table in tables.metadata.sorted_tables:
        connection.execute(table.delete())
    if connection.dialect.name == "sqlite":
        for name in ("node_texts", "workflow_texts"):
            connection.execute(text(f"INSERT INTO {name}({name}) VALUES ('delete-all')"))  # noqa: S608


def build(engine, world, order):
    """Bring the world's records into empty tables, some at a time, in an order that compaction may leave."""
    all_records = [records.record(row) for row in (*world.workflows, *world.nodes)]
    by_id = {node.id: node for node in world.nodes}
    all_records += [
        records.chunk(by_id[node_id], number, content) for (node_id, number), content in world._chunks.items()
    ]
    all_records = records.shuffled(all_records, order)
    with engine.begin() as connection:
        empty(connection)
        projector = Projector(connection)
        for first in range(0, len(all_records), 3):
            projector.apply(all_records[first : first + 3])


SETTINGS = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


# The bounds are lowered, so that a few rows take all the ways that a million does.
@pytest.fixture(params=["scan", "candidates", "both"], autouse=True)
def way(request, monkeypatch):
    if request.param == "candidates":
        monkeypatch.setattr(search, "_FIRST_ROWS", 1)
    if request.param == "both":
        monkeypatch.setattr(search, "_FIRST_ROWS", 1)
        monkeypatch.setattr(search, "_FEW", 1)
        monkeypatch.setattr(search, "_MANY", 3)
        monkeypatch.setattr(search, "_ROWS_MORE", 1)


@SETTINGS
@given(data=st.data())
def test_searches_answer_as_the_rules_are_worded(engine, data):
    world = data.draw(worlds())
    build(engine, world, data.draw(st.integers(0, 5)))
    with engine.begin() as connection:
        for _ in range(6):
            user = data.draw(st.sampled_from(USERS))
            asked = data.draw(
                filters(NodeFilters, [node.id for node in world.nodes], [workflow.id for workflow in world.workflows])
            )
            matches = search.search_nodes(connection, user, asked)
            assert [row.id for row in matches] == world.search_nodes(user, asked)
            asked = data.draw(filters(WorkflowFilters, [workflow.id for workflow in world.workflows]))
            matches = search.search_workflows(connection, user, asked)
            assert [row.id for row in matches] == world.search_workflows(user, asked)


@SETTINGS
@given(data=st.data())
def test_searches_of_several_clients_are_those_of_each_in_one_order(engine, data):
    world = data.draw(worlds())
    build(engine, world, 0)
    for at_once in (1, 2, 1_000):
        count = data.draw(st.sampled_from([0, 1, 3, 25]))
        with engine.begin() as connection, pytest.MonkeyPatch.context() as patch:
            patch.setattr(several, "_ROWS_AT_ONCE", at_once)
            nodes = sorted(((node.created_at, node.id) for node in world.nodes), reverse=True)
            views = several.nodes_of(connection, USERS, NodeFilters(per_page=count))
            assert [(view.created_at, view.id) for view in views] == nodes[:count]
            with_nodes = {node.workflow_id for node in world.nodes}
            workflows = [(each.created_at, each.id) for each in world.workflows if each.id in with_nodes]
            rows = several.workflows_of(connection, USERS, WorkflowFilters(per_page=count))
            assert [(row.created_at, row.id) for row in rows] == sorted(workflows, reverse=True)[:count]


@SETTINGS
@given(world=worlds())
def test_lists_answer_as_the_rules_are_worded(engine, world):
    build(engine, world, 0)
    with engine.begin() as connection:
        for user in USERS:
            names = {each.name for each in world.workflows if each.user_id == user}
            assert workflow_names(connection, user) == sorted(names)
            errored = {
                node.workflow_id for node in world.nodes if node.user_id == user and node.client is ClientStatus.ERRORED
            }
            assert {each.id for each in error_workflows(connection, user)} == errored
        counts = states_of_workflows(connection, [each.id for each in world.workflows])
        for workflow in world.workflows:
            own = sorted((node for node in world.nodes if node.workflow_id == workflow.id), key=lambda node: node.seq)
            by_server = Counter()
            for state, nodes in counts.get(workflow.id, {}).items():
                by_server[states.server_of(state)] += nodes
            assert by_server == Counter(map(world.server, own))
        assert newest_number(connection) == len(world.workflows)
