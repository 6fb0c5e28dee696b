"""Statements of several rows: whatever their number, the tables have each of them once."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import text

from backbeat.gateway.projection.following.batch import Projector
from backbeat.gateway.projection.reading.lists import workflow_names
from backbeat.gateway.projection.storage import tables
from tests.gateway.projection import records

USER = uuid.UUID(int=7).bytes


@pytest.mark.parametrize("count", [1, 7, 8, 9, 59, 60, 67, 200])
def test_every_row_is_written_and_found(connection, count):
    keys = [number.to_bytes(4, "big") for number in range(count)]
    with connection.begin():
        statements = Projector(connection).statements
        statements.insert_values(tables.waiting, [(key, b"subject" + key, key * 2) for key in keys])
        listed = statements.select(tables.waiting, "key", [*keys, b"none"], "key", "subject_id", "value")
        assert sorted(map(tuple, listed)) == [(key, b"subject" + key, key * 2) for key in keys]
        assert statements.select(tables.waiting, "key", [], "key") == []


def test_more_values_are_looked_for_than_a_statement_takes(connection):
    keys = [number.to_bytes(4, "big") for number in range(1_100)]
    with connection.begin():
        statements = Projector(connection).statements
        statements.insert_values(tables.waiting, [(key, key, key) for key in keys])
        assert sorted(row.key for row in statements.select(tables.waiting, "key", keys, "key")) == keys


def test_many_workflows_of_one_name_come_and_go_in_one_batch(connection):
    flows = [records.workflow(USER, "flow", b'{"id":%d}' % number, 5) for number in range(20)]
    with connection.begin():
        projector = Projector(connection)
        projector.apply([records.record(flow) for flow in flows])
    with connection.begin():
        names = connection.execute(text("SELECT name, workflows FROM workflow_names")).all()
        assert [(bytes(name), count) for name, count in names] == [(b"flow", 20)]
    with connection.begin():
        projector.apply([(records.record(flow)[0], None) for flow in flows])
    with connection.begin():
        assert connection.execute(text("SELECT workflows FROM workflow_names")).scalar() == 0
        assert workflow_names(connection, USER) == []
