"""A changelog that a newer Backbeat has written is refused by whoever follows it, and no row is made of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import msgspec
import pytest
from confluent_kafka import Producer

from backbeat.compose.local.child_process import ChildProcess
from backbeat.compose.local.ports import free_port
from backbeat.gateway.projection.storage import facts
from backbeat.gateway.projection.storage.database import open_engine, parse_url
from backbeat.schemas.kafka.topics import STATE, ensure_topics
from tests.gateway.projection.records import node, record, workflow
from tests.waiting import until

pytestmark = pytest.mark.integration

SAID = (
    "partition 0: a node record of version 2 was written by a newer Backbeat than this one (1 is the newest that it "
    "knows). What to do: run that version, or a later one; nothing was changed"
)
WORKFLOW = workflow(bytes(16), "Purchases", b'"one"')
KNOWN = node(WORKFLOW, 1)


def newer(row):
    """As a release to come would write it: a higher version, and a field more."""
    key, value = record(msgspec.structs.replace(row, version=2))
    return key, msgspec.msgpack.encode([*msgspec.msgpack.decode(value), "more"])


@pytest.fixture(scope="module")
def kafka_of_a_newer_one(kafka):
    """Bootstrap servers, and what puts records into the changelog."""
    ensure_topics(kafka, 1, replication=1, development=True)
    producer = Producer({"bootstrap.servers": kafka})

    def put(*records):
        for key, value in records:
            producer.produce(STATE, value, key, partition=0)
        assert producer.flush(120) == 0

    return kafka, put


def rows(url):
    engine = open_engine(parse_url(url))
    try:
        with engine.begin() as connection:
            return facts.count_rows(connection)
    finally:
        engine.dispose()


def test_it_ends_with_what_to_do_and_writes_no_row_of_it(kafka_of_a_newer_one, tmp_path):
    servers, put = kafka_of_a_newer_one
    url = f"sqlite:///{tmp_path / 'gateway' / 'projection.sqlite'}"
    program = [sys.executable, "-m", "backbeat.compose"]
    words = ["--bootstrap-servers", servers, "--data-dir", str(tmp_path / "gateway")]
    put(record(WORKFLOW), record(KNOWN))
    follow = ChildProcess(
        "projection",
        [*program, "projection", "follow", *words, "--status-port", "none"],
        log_path=tmp_path / "follow.log",
        pid_path=tmp_path / "follow.pid",
        env=dict(os.environ),
    )
    with contextlib.ExitStack() as stack:
        follow.start()
        stack.callback(follow.stop)
        until(lambda: "the projection is whole" in follow.output(), "the tables are whole")
        before = rows(url)
        assert before["nodes"] == 1

        put(newer(node(WORKFLOW, 2)), record(node(WORKFLOW, 3)))
        assert follow.wait(120)
    assert follow.exit_code == 4
    assert f"the projection ends: {SAID}" in follow.output()
    assert rows(url) == before

    # So do a gateway, which is told apart by its supervisor in the same way, and a command that is not.
    gateway = [*program, "gateway", *words, "--http-port", str(free_port())]
    done = subprocess.run(gateway, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr.count(f"the gateway ends: {SAID}")) == (4, 1), done.stderr
    assert rows(url) == before

    rebuild = [*program, "projection", "rebuild", *words]
    done = subprocess.run(rebuild, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (1, f"Error: {SAID}\n")
    assert rows(url)["nodes"] <= 1
