"""The critical path, on both databases: it is the one that a walk down the records finds."""

from __future__ import annotations

import random

import pytest

from backbeat.gateway.projection.following.batch import Projector
from backbeat.gateway.projection.reading.timeline import timeline
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
            spans = timeline(connection, workflow.id, None, None, 200)
    engine.dispose()

    assert spans is not None
    assert [node.id for node in spans.critical_path] == path(nodes)
    parents = {id_text(node.parent_id) for node in nodes if node.parent_id}
    assert {node.id for node in spans.nodes if node.has_children} == parents & {node.id for node in spans.nodes}
