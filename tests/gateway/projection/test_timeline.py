"""The critical path and the groups of a timeline, on both databases: those that a walk over the records finds."""

from __future__ import annotations

import random

import pytest

from backbeat.gateway.http.parameters import find_id
from backbeat.gateway.projection.following.batch import Projector
from backbeat.gateway.projection.reading.siblings import GROUP_MIN
from backbeat.gateway.projection.reading.timeline import TimelinePart, timeline
from backbeat.gateway.projection.reading.timeline_groups import PARTS
from backbeat.gateway.projection.storage import tables
from backbeat.gateway.projection.storage.database import open_engine, parse_url
from backbeat.payload.values import id_text
from backbeat.schemas.messages.status import CLOSED, ClientStatus, ServerStatus
from tests.gateway.projection import records

USER = b"u" * 16
NODES = 60


def path(nodes, parent_id=None):
    """The child that is open and was made first, else that ended last, and so on down."""
    below = [node for node in nodes if node.parent_id == parent_id]
    if not below:
        return []
    still_open = [node for node in below if node.server not in CLOSED]
    last = min(still_open, key=lambda node: node.seq) if still_open else max(below, key=lambda node: node.created_at)
    return [id_text(last.id), *path(nodes, last.id)]


@pytest.mark.parametrize("seed", range(4))
def test_the_critical_path_is_found(database_url, seed):
    chance = random.Random(seed)
    workflow = records.workflow(USER, "W", b'"s"')
    nodes = []
    for number in range(1, NODES):
        server = chance.choice([ServerStatus.COMPLETE] * 12 + [ServerStatus.SENT_TO_CLIENT])
        parent = chance.choice([None, *nodes[-9:]])
        # No two end at the same time: which of them is last would be anybody's guess.
        at = number + 1_000 * chance.randrange(1_000)
        history = records.packed((ClientStatus.RECEIVED, at), (server, at))
        nodes.append(records.node(workflow, number, at, parent_id=parent and parent.id, server=server, history=history))
    engine = open_engine(parse_url(database_url))
    with engine.connect() as connection:
        with connection.begin():
            tables.create(connection)
            Projector(connection).apply([records.record(row) for row in (workflow, *nodes)])
        with connection.begin():
            spans = timeline(connection, workflow.id, TimelinePart(limit=200))
    engine.dispose()

    assert spans is not None
    assert [node.id for node in spans.critical_path] == path(nodes)
    parents = {id_text(node.parent_id) for node in nodes if node.parent_id}
    assert {node.id for node in spans.nodes if node.has_children} == parents & {node.id for node in spans.nodes}


def open_in_parts(nodes, ends, begin, end):
    """Number of these nodes that were open at any moment of each part of a time, counted node by node."""
    length = end - begin + 1
    lives = [(node.created_at, ends[node.id] if node.server in CLOSED else end) for node in nodes]
    parts = [((made - begin) * PARTS // length, (ended - begin) * PARTS // length) for made, ended in lives]
    return [sum(first <= number <= last for first, last in parts) for number in range(PARTS)]


@pytest.mark.parametrize("all_end", [True, False])
def test_many_nodes_of_one_name_are_a_group_with_how_many_were_open(connection, all_end):
    chance = random.Random(7)
    workflow = records.workflow(USER, "W", b'"s"')
    top = records.node(workflow, 1, 100, name="Top")
    children, ends = [], {}
    for number in range(2, 200):
        made = 200 + chance.randrange(5_000)
        ended = made + chance.randrange(3_000)
        server = ServerStatus.COMPLETE if all_end or chance.random() < 0.7 else ServerStatus.RETRYING
        name = chance.choice(["Charge card"] * 3 + ["Send mail", f"Only {number}"])
        history = records.packed((ClientStatus.RECEIVED, made), (server, ended))
        children.append(
            records.node(workflow, number, made, parent_id=top.id, name=name, server=server, history=history)
        )
        ends[children[-1].id] = ended
    cards = [node for node in children if node.name == "Charge card"]
    others = [id_text(node.id) for node in children if node.name != "Charge card"]
    assert sum(node.name == "Send mail" for node in children) < GROUP_MIN <= len(cards)

    def read(**words):
        with connection.begin():
            return timeline(connection, workflow.id, TimelinePart(below=top.id, **words))

    with connection.begin():
        Projector(connection).apply([records.record(row) for row in (workflow, top, *children)])
        assert timeline(connection, workflow.id, TimelinePart(limit=9, folds=True)).groups == []
    folded = read(limit=60, folds=True)
    rest = read(limit=60, folds=True, after=find_id(folded.next))
    assert [node.id for node in (*folded.nodes, *rest.nodes)] == others
    single = read(limit=200, name="Charge card", folds=True)
    assert [node.id for node in single.nodes] == [id_text(node.id) for node in cards]
    assert rest.groups == single.groups == read(limit=9, name="None").nodes == read(limit=9).groups == []

    # Whoever may see one workflow reads no other by the id of a node in it.
    other = records.workflow(USER, "Other", b'"o"')
    with connection.begin():
        Projector(connection).apply([records.record(other)])
        for words in ({"folds": True}, {"name": "Charge card"}, {}):
            foreign = timeline(connection, other.id, TimelinePart(limit=9, below=top.id, **words))
            assert (foreign.nodes, foreign.groups) == ([], [])

    (group,) = folded.groups
    assert (group.name, group.total) == ("Charge card", len(cards))
    assert group.from_ == min(node.created_at for node in children)
    assert group.to == (max(ends[node.id] for node in cards) if all_end else folded.at)
    assert group.open == open_in_parts(cards, ends, group.from_, group.to)
    (zoomed,) = read(limit=1, folds=True, begin=1_000, end=2_500).groups
    assert (zoomed.from_, zoomed.to) == (1_000, 2_500)
    assert zoomed.open == open_in_parts(cards, ends, 1_000, 2_500)
