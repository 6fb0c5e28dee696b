"""What an engine shows of itself to machines, and that it ends rather than hang."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from tests.empty_kafka import engine_of, stack_on
from tests.integration.caller import node_of
from tests.integration.hanging_engine import FILE, command
from tests.integration.rig import START_SECONDS_MAX, Rig, running
from tests.streams.observe.scrape import documented, get, scrape, shown
from tests.waiting import until

ENV = {
    "BACKBEAT_COMMIT_INTERVAL_SECONDS": "0.2",
    "BACKBEAT_LOOP_TIMEOUT_SECONDS": "2",
    "BACKBEAT_RESTORE_STALL_TIMEOUT_SECONDS": "2",
    # Where the loop does not turn nothing is committed, either: that has to be noticed later, on a slow machine too.
    "BACKBEAT_COMMIT_STALL_TIMEOUT_SECONDS": "10",
    # And so it is where a commit hangs in its transaction.
    "BACKBEAT_COMMIT_TIMEOUT_SECONDS": "5",
    "BACKBEAT_LOG_FORMAT": "json",
}
#: Each takes two starts of an engine; the others of its kind are tried every time.
PROVE = pytest.mark.prove


@pytest.fixture(scope="module")
def system(kafka, tmp_path_factory):
    folder = tmp_path_factory.mktemp("watch")
    with running(stack_on(kafka, data_dir=folder, partitions=2, engine=command, env=ENV)) as stack:
        rig = Rig(stack)
        try:
            yield rig
        finally:
            rig.close()


def metrics(system):
    return scrape(system.stack.status_urls[0])


def test_every_metric_is_documented_and_every_documented_one_is_there(system):
    assert shown(metrics(system)) == documented("engine", "ingest")


def test_figures_follow_the_work(system):
    before = metrics(system)
    node = system.signal(b'"figures"', name="take picture")
    system.say(node)
    expected = {
        ("backbeat_engine_commands", "signal"): 1,
        ("backbeat_engine_commands", "change_node"): 1,
        ("backbeat_engine_activities_dispatched", "take picture"): 1,
        ("backbeat_engine_activities_finished", "take picture,complete"): 1,
        ("backbeat_engine_status_changes", "server,complete"): 1,
    }

    def growth():
        after = metrics(system)
        return {row: after[row[0]].get(row[1], 0) - before[row[0]].get(row[1], 0) for row in expected}

    # An answer may be here before its command is counted.
    until(lambda: growth() == expected, "the figures have followed")
    assert metrics(system)["backbeat_engine_partitions"] == {"ready": 2, "restoring": 0}
    until(lambda: metrics(system)["backbeat_engine_uncommitted_records"] == {"0": 0, "1": 0}, "all is committed")
    assert sum(metrics(system)["backbeat_engine_store_records"].values()) > 0


def test_live_ready_and_what_is_neither(system):
    url = system.stack.status_urls[0]
    assert get(f"{url}/live") == (200, "ok\n")
    # Partitions come first, signals' topics a moment later.
    until(lambda: get(f"{url}/ready") == (200, "ok\n"), "it is ready")
    assert get(f"{url}/other")[0] == 404


def test_the_log_is_one_event_a_line_of_json(system):
    lines = [line for line in system.log().splitlines() if line.startswith("{")]
    restored = [json.loads(line) for line in lines if "restored in" in line]
    assert {event["partition"] for event in restored} == {0, 1}


def test_a_status_port_that_is_taken_ends_the_engine_with_what_to_do(system, tmp_path):
    engine = system.stack._engines[0].process
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        system.kill()
        before = dict(engine.env)
        engine.env["BACKBEAT_STATUS_PORT"] = str(port)
        engine.start()
        assert engine.wait(120)
        engine.env = before
    assert engine.exit_code == 4
    output = engine.output()
    assert f"the status cannot be served on 127.0.0.1:{port}: another process listens there. What to do:" in output
    system.start()


def test_of_two_engines_with_one_instance_id_the_one_before_ends_and_the_other_waits_for_its_lease(system, tmp_path):
    """Each on a disk of its own, so that no lock keeps them apart: an id that was copied to a second machine."""

    name = engine_of(system.stack, 0)

    def replaced(log_text: str) -> bool:
        # By its heartbeat, or by a commit that came first.
        match = re.search(
            rf"the engine ends: (it was replaced: another process has the instance id {name}|.*fenced)", log_text
        )
        return match is not None

    waits = f"had the instance id {name} a moment ago: nothing is done until its session is over"
    environment = {**os.environ, **system.stack._env, "BACKBEAT_STATUS_PORT": "none"}
    log = tmp_path / "other.log"
    with log.open("wb") as output:
        start = command(system.kafka, name, tmp_path / "engine-other")
        other = subprocess.Popen(start, env=environment, stdout=output, stderr=output)
    try:
        until(lambda: replaced(system.log()), "the one before ends")
        # It is started again by its supervisor, and is the newest then.
        until(lambda: other.poll() is not None, "the other ends as well")
    finally:
        other.kill()
        other.wait()
    assert other.returncode == 3
    assert waits in log.read_text()
    assert replaced(log.read_text())
    system.signal(b'"after two"')


@pytest.mark.parametrize(
    ("hangs", "reason"),
    [
        ("loop", "the event loop has not moved for"),
        pytest.param("commit", "the log has commands, and the committed position of partition", marks=PROVE),
        ("reader", "the log has commands, and the committed position of partition"),
        pytest.param("revoke", "giving the partitions back has not moved", marks=PROVE),
        ("restore", "the restore of partition"),
        ("transaction", "a commit's transaction has not moved for"),
    ],
)
def test_an_engine_ends_rather_than_hang_and_the_next_one_goes_on(system, hangs, reason):
    (system.stack.data_dir / FILE).write_text("commit" if hangs == "revoke" else hangs)
    # Started by hand each time: the deaths of all cases together would be too many for the stack.
    system.stack.stop_engine()
    if hangs == "restore":
        shutil.rmtree(system.stack.data_dir / "engine-1")
    system.stack.start_engine()
    sent = system.caller.signal(json.dumps(hangs).encode())
    if hangs == "revoke":
        # Stopped in order, it commits for the last time, behind the commit that hangs.
        system.stack.wait_ready(seconds=START_SECONDS_MAX)
        system.stack.signal_engine(0, signal.SIGTERM)
    else:
        system.caller.send(sent)
    began = time.monotonic()
    # The next one, which is healthy, brings it to its worker and commits.
    until(lambda: f"the engine ends: {reason}" in system.log(), f"it ends: {hangs}")
    if hangs == "revoke":
        system.caller.send(sent)
    system.dispatched(node_of(sent))
    print(f"{hangs}: {time.monotonic() - began:.1f} s")
    system.stack.wait_ready(seconds=START_SECONDS_MAX)
