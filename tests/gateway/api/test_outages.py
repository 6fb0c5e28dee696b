"""Parts that are not there: the gateway says so quickly, and goes on by itself when they are back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from backbeat.compose.local.child_process import ChildProcess
from backbeat.compose.local.kafka import KafkaBroker
from backbeat.compose.local.ports import free_port
from backbeat.compose.local.programs import gateway_command
from backbeat.compose.local.stack import CLIENT_DEFAULT, GATEWAY_READY_LINE, Stack
from backbeat.schemas.kafka.client_registry import ClientRegistry
from backbeat.schemas.kafka.topics import ensure_topics
from backbeat.streams.kafka.registration import add_client
from tests.gateway.api.door import Answer, Door
from tests.gateway.console.desk import Desk
from tests.waiting import until

pytestmark = pytest.mark.integration
START_SECONDS_MAX = 180.0
CONSOLE = ["--ui=on", "--ui-login=none"]
#: Pages of the console that have something to show without Kafka.
PAGES = ["stuck", "workflows", "nodes", "activities", "system", "jobs", "audit", "retention", "schedules"]


@pytest.fixture(scope="module")
def alone() -> Iterator[Stack]:
    """A stack of this file's own: what it does to it must meet nobody else."""
    own = Stack(ephemeral=True, partitions=2, http_port=free_port(), gateways=[["--answer-seconds", "3", *CONSOLE]])
    try:
        yield own.start(START_SECONDS_MAX)
    finally:
        own.stop()


@pytest.fixture(scope="module")
def door(alone: Stack) -> Door:
    with ClientRegistry(alone.bootstrap_servers) as registry:
        client = registry.by_name(CLIENT_DEFAULT)
    assert client is not None
    return Door(alone.http_urls[0], client.id)


def new_workflow(door: Door, subject: str, **headers: str) -> Answer:
    return door.post("/workflows", {"name": "order", "subject": subject, "decider": "D"}, **headers)


def health(door: Door) -> str:
    return door.get("/health").json["status"]


def test_no_engine(alone, door):
    workflow = new_workflow(door, "no engine").json["id"]
    alone.stop_engine()
    key = {"Idempotency-Key": "while-nobody-was-there"}
    answer = door.post(f"/workflows/{workflow}/signal", {"name": "once"}, **key)
    assert answer.error == (503, "Backbeat::Timeout")
    assert "may still be applied" in answer.json["message"]
    assert answer.headers["retry-after"] == "1"
    assert len(answer.tid) == 7
    assert door.get(f"/workflows/{workflow}").error == (503, "Backbeat::Timeout")
    assert "No engine answers for 2 of 2 partitions" in health(door)
    search = door.get("/workflows/search?name=order")
    assert search.status == 200
    assert float(search.headers["x-backbeat-stale-seconds"]) > 0

    alone.start_engine()
    alone.wait_ready(0, START_SECONDS_MAX)
    until(lambda: health(door) == "OK", "all is well", 180)
    again = door.post(f"/workflows/{workflow}/signal", {"name": "once"}, **key)
    assert again.status == 201
    assert [node["id"] for node in door.get(f"/workflows/{workflow}/nodes").json] == [again.json["id"]]


def test_a_broker_that_hangs(alone, door):
    assert alone.kafka is not None
    desk = Desk(door.url)
    form = f"workflows/{new_workflow(door, 'paused').json['id']}/pause"
    fields = {**desk.hidden(form), "reason": "before it hung"}
    os.kill(alone.kafka.pid, signal.SIGSTOP)
    try:
        until(lambda: "does not answer" in health(door), "it is noticed", 180)
        for answer in (new_workflow(door, "hangs"), door.get("/activities/search?name=x")):
            assert answer.status in (200, 503)
        assert new_workflow(door, "hangs").error == (503, "Backbeat::Unavailable")
        assert door.get("/users").status == 200
        assert door.get("/heartbeat.txt").status == 200
        until(lambda: "does not answer" in desk.get("").text, "the console says it", 180)
        for address in PAGES:
            assert desk.get(address).status == 200, address
        answer = desk.send(form, fields)
        assert (answer.status, "before it hung" in answer.text) == (503, True)
    finally:
        os.kill(alone.kafka.pid, signal.SIGCONT)
    until(lambda: health(door) == "OK", "all is well", 180)
    assert until(lambda: new_workflow(door, "back").status == 201, "it works again", 180)
    # The form is kept by the page that said so, and is as good as before.
    assert until(lambda: desk.send(form, fields).status == 303, "it is done", 180)
    assert "before it hung" in desk.get("audit").text


def test_a_gateway_that_is_killed_comes_back(alone, door):
    before = alone.gateway_pids[0]
    alone.kill_gateway()
    alone.wait_gateway_ready(0, START_SECONDS_MAX)
    assert alone.gateway_pids[0] not in {0, before}
    assert new_workflow(door, "after the kill").status == 201


def test_a_gateway_that_is_stopped_ends_in_order(alone, door):
    alone.stop_gateway()
    assert alone._gateways[0].process.exit_code == 0
    alone.start_gateway()
    alone.wait_gateway_ready(0, START_SECONDS_MAX)
    assert door.get("/heartbeat.txt").status == 200


def test_a_gateway_may_start_before_kafka(tmp_path):
    kafka_port, http_port = free_port(), free_port()
    servers = f"127.0.0.1:{kafka_port}"
    part = ChildProcess(
        "gateway",
        gateway_command(servers, http_port, tmp_path / "gateway", CONSOLE),
        log_path=tmp_path / "gateway.log",
        pid_path=tmp_path / "gateway.pid",
    )
    client_id = "0b4e9b1e-57a5-4f0e-9d4b-6f1c34c0f0aa"
    anybody = Door(f"http://127.0.0.1:{http_port}", client_id)
    desk = Desk(anybody.url)
    part.start()
    try:
        until(lambda: _listens(anybody), "it listens", 180)
        for path in ("/workflows/names", "/users"):
            assert anybody.get(path).error == (503, "Backbeat::Unavailable")
        assert "Kafka" in health(anybody)
        assert GATEWAY_READY_LINE not in part.output()
        # Of clients that are not known yet nothing is said.
        for address in (f"clients/{client_id}", *(f"{page}?client=x" for page in ("stuck", "nodes", "letters"))):
            assert desk.get(address).status == 503, address
        policy = {"action": "keep", "client": CLIENT_DEFAULT, "workflow": "order", "keep_days": "30", "reason": "INC-7"}
        answer = desk.fill("retention", **policy)
        assert (answer.status, "“INC-7”" in answer.text) == (503, True)
        with KafkaBroker(tmp_path / "kafka", port=kafka_port):
            ensure_topics(servers, 2, replication=1, development=True)
            client = add_client(servers, CLIENT_DEFAULT, partitions=2)
            until(lambda: GATEWAY_READY_LINE in part.output(), "it is ready", 180)
            assert {"id": client.id, "name": CLIENT_DEFAULT} in anybody.get("/users").json
            part.stop()
            assert part.exit_code == 0
    finally:
        part.stop()


def test_a_port_that_is_taken_is_a_misfit(alone, tmp_path):
    part = ChildProcess(
        "gateway",
        gateway_command(alone.bootstrap_servers, alone.http_ports[0], tmp_path, []),
        log_path=tmp_path / "gateway.log",
        pid_path=tmp_path / "gateway.pid",
    )
    part.start()
    assert part.wait(120)
    assert part.exit_code == 4
    assert "cannot be listened on" in part.output()
    part.stop()


def test_a_database_that_cannot_be_is_a_misfit(alone, tmp_path):
    part = ChildProcess(
        "gateway",
        gateway_command(alone.bootstrap_servers, free_port(), tmp_path, ["--database-url", "mongodb://x"]),
        log_path=tmp_path / "gateway.log",
        pid_path=tmp_path / "gateway.pid",
    )
    part.start()
    assert part.wait(120)
    assert part.exit_code == 4, part.output()
    part.stop()


def _listens(door: Door) -> bool:
    try:
        door.get("/health")
    except OSError:
        return False
    return True
