"""Counts of a node's children by name and status, on both databases, compared with the nodes themselves."""

from __future__ import annotations

import random
import uuid
from collections import Counter

import pytest
from sqlalchemy import text

from backbeat.gateway.projection.following.batch import Projector
from backbeat.gateway.projection.following.siblings import COUNTED_FROM
from backbeat.gateway.projection.reading import siblings
from backbeat.gateway.projection.storage import states
from backbeat.schemas.messages.status import ServerStatus
from tests.gateway.projection import records

USER, OTHER = uuid.UUID(int=7).bytes, uuid.UUID(int=8).bytes
HOSTILE = "Charge <img src=x onerror=alert(1)> \u202e' \"; DROP TABLE nodes --"
NAMES = ("Charge card", HOSTILE, "Send mail")


@pytest.fixture
def projector(connection):
    with connection.begin():
        return Projector(connection)


def apply(connection, projector, *rows):
    with connection.begin():
        projector.apply(rows)


def fan(count, name="Charge card"):
    """A workflow with a node above so many children of one name."""
    workflow = records.workflow(USER, "flow", b'"fan"')
    top = records.node(workflow, 1, name="Top")
    return workflow, top, [records.node(workflow, seq, parent_id=top.id, name=name) for seq in range(2, 2 + count)]


def counted_parents(connection) -> int:
    with connection.begin():
        return connection.execute(text("SELECT COUNT(DISTINCT parent_id) FROM child_states")).scalar()


def counts(connection, parent):
    with connection.begin():
        return {key: dict(of) for key, of in siblings.children_by_name(connection, parent.id).items()}


def test_what_a_node_of_many_children_says_of_them(connection, projector):
    workflow, top, children = fan(120, HOSTILE)
    last = records.node(workflow, 200, parent_id=top.id, name="Mark", user_id=OTHER)
    apply(connection, projector, *map(records.record, (workflow, top, *children, last)))
    for child in children[:70]:
        child.server = ServerStatus.COMPLETE
    children[100].server = ServerStatus.RETRYING
    apply(connection, projector, *map(records.record, children))
    with connection.begin():
        answer = siblings.child_counts(connection, top.id, 10)
        (most,) = siblings.child_counts(connection, top.id, 1).names
        assert siblings.child_counts(connection, top.id, 1).more == 1
        assert siblings.child_counts(connection, last.id, 10).names == []
        assert siblings.child_counts(connection, bytes(16), 10).total == 0
    assert (answer.total, answer.more, most) == (121, 0, answer.names[0])
    assert [(count.name, count.user_id, count.total, count.nodes) for count in answer.names] == [
        (HOSTILE, str(uuid.UUID(bytes=USER)), 120, {"ready": 49, "complete": 70, "retrying": 1}),
        ("Mark", str(uuid.UUID(bytes=OTHER)), 1, {"ready": 1}),
    ]
    assert counted_parents(connection) == 1
    with connection.begin():
        # Of so many counts none are read.
        assert siblings.children_by_name(connection, top.id, 3) == {}
        assert len(siblings.children_by_name(connection, top.id, 4)) == 2


def test_the_first_retry_of_each_name_is_told_while_few_wait_for_one(connection, projector, monkeypatch):
    workflow, top, children = fan(120)
    for number, child in enumerate(children[:30]):
        child.server, child.fires_at = ServerStatus.RETRYING, 9_000 - number
    children[29].name = HOSTILE
    children[60].server = ServerStatus.RETRIES_EXHAUSTED
    below = records.node(workflow, 200, parent_id=children[5].id, server=ServerStatus.RETRYING, fires_at=1)
    apply(connection, projector, *map(records.record, (workflow, top, *children, below)))
    first = {states.name_key(USER, "Charge card"): 9_000 - 28, states.name_key(USER, HOSTILE): 9_000 - 29}
    with connection.begin():
        by_name = siblings.children_by_name(connection, top.id)
        assert siblings.first_retries(connection, top.id, by_name) == first
        counts = siblings.child_counts(connection, top.id, 10).names
        assert [count.first_retry_at for count in counts] == list(first.values())
        assert siblings.first_retries(connection, bytes(16), by_name) == {}
        assert siblings.first_retries(connection, top.id, {1: Counter({ServerStatus.READY: 9})}) == {}
    monkeypatch.setattr(siblings, "RETRYING_MAX", 30)
    with connection.begin():
        assert siblings.first_retries(connection, top.id, by_name) == {}


def test_few_children_are_not_kept_and_are_counted_all_the_same(connection, projector):
    workflow, top, children = fan(COUNTED_FROM - 1)
    apply(connection, projector, *map(records.record, (workflow, top, *children)))
    key = states.name_key(USER, "Charge card")
    assert counts(connection, top) == {key: {ServerStatus.READY: COUNTED_FROM - 1}}
    assert counted_parents(connection) == 0
    # The next one, in a batch of its own, has those before it counted, too.
    apply(connection, projector, records.record(records.node(workflow, 60, parent_id=top.id, name="Charge card")))
    assert counts(connection, top) == {key: {ServerStatus.READY: COUNTED_FROM}}
    assert counted_parents(connection) == 1


@pytest.mark.parametrize("seed", range(8))
def test_counts_are_those_of_the_nodes_whatever_the_batches(connection, projector, seed):
    """Nodes are made, change, are deactivated and deleted, in batches of any size, or in a bulk load."""
    choose = random.Random(seed)
    workflow = records.workflow(USER, "flow", b"1")
    parents = [records.node(workflow, seq, name="Top") for seq in (1, 2, 3)]
    workflow.sweeps = 1
    children = []
    projector.is_whole = seed % 4 > 0
    apply(connection, projector, *map(records.record, (workflow, *parents)))
    seq = len(parents)
    for _ in range(40):
        if choose.random() < 0.2:
            # Another process goes on.
            with connection.begin():
                projector = Projector(connection, is_whole=projector.is_whole)
        written = {}
        for _ in range(choose.choice((1, 5, 40))):
            kind = choose.choice(("make", "make", "change", "delete"))
            if kind == "make" or not children:
                seq += 1
                parent = choose.choice((parents[0], parents[0], parents[1], choose.choice([*parents, *children])))
                child = records.node(workflow, seq, parent_id=parent.id, name=choose.choice(NAMES))
                children.append(child)
                written[child.id] = records.record(child)
            elif kind == "change":
                child = choose.choice(children)
                child.server = choose.choice((ServerStatus.COMPLETE, ServerStatus.RETRYING, ServerStatus.READY))
                written[child.id] = records.record(child)
            else:
                child = children.pop(choose.randrange(len(children)))
                written.pop(child.id, None)
                written[child.id] = records.record(child)[0], None
        if choose.random() < 0.1:
            workflow.watermark = max(workflow.watermark, choose.randint(1, seq))
            written[workflow.id] = records.record(workflow)
        apply(connection, projector, *written.values())
        if projector.is_whole:
            for parent in parents:
                assert counts(connection, parent) == _counted(workflow, children, parent)
    if not projector.is_whole:
        assert counted_parents(connection) == 0
        with connection.begin():
            projector.become_whole()
    assert counted_parents(connection) > 0
    for parent in (*parents, *children):
        assert counts(connection, parent) == _counted(workflow, children, parent)
    apply(connection, projector, (records.record(workflow)[0], None))
    assert counted_parents(connection) == 0


def _counted(workflow, children, parent):
    by_name = {}
    for child in children:
        if child.parent_id == parent.id:
            server = ServerStatus.DEACTIVATED if child.seq < workflow.watermark else child.server
            by_name.setdefault(states.name_key(USER, child.name), Counter())[server] += 1
    return {key: dict(of) for key, of in by_name.items()}


def test_the_children_of_a_name_are_listed_in_their_order(connection, projector):
    workflow, top, children = fan(150)
    for child in children[::3]:
        child.name = HOSTILE
    apply(connection, projector, *records.shuffled([*map(records.record, (workflow, top, *children))], 1))
    wanted = [child.id for child in children if child.name == HOSTILE]
    key = states.name_key(USER, HOSTILE)
    with connection.begin():
        assert siblings.children_of_name(connection, top.id, key, None, 1_000) == wanted
        assert siblings.children_of_name(connection, top.id, key, wanted[20], 7) == wanted[20:27]
        assert siblings.children_of_name(connection, top.id, states.name_key(OTHER, HOSTILE), None, 9) == []
        assert siblings.children_of_name(connection, children[0].id, key, None, 9) == []
