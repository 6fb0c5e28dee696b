"""Faults on processes that a keeper keeps: what each does, and that nothing of it is left."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import msgspec
import psutil
import pytest

from backbeat.compose.drill.faults.catalogue import make_fault
from backbeat.compose.drill.faults.clock import CLOCK_VARIABLE, build_clock
from backbeat.compose.drill.faults.fault import FaultError
from backbeat.compose.drill.faults.processes import missing
from backbeat.compose.drill.topology.disk import mount_disk, unmount_disk
from backbeat.compose.drill.topology.keeper import Keeper, Part
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.local.child_process import ChildProcess
from backbeat.compose.local.ports import free_port
from backbeat.schemas.kafka.topics import ensure_topics
from tests.waiting import until


@pytest.fixture
def kept(tmp_path):
    """A process that is started again, as a service."""
    keeper = Keeper()
    (tmp_path / "data" / "partition-0").mkdir(parents=True)
    process = ChildProcess(
        "engine-1",
        [sys.executable, "-c", "import signal; signal.pause()"],
        log_path=tmp_path / "log",
        pid_path=tmp_path / "pid",
    )
    part = Part("engine-1", process, tmp_path / "hold")
    keeper.start()
    keeper.add([part])
    keeper.wait_ready([part])
    service = Service(
        name="engine-1",
        role="engine",
        pid_file=str(tmp_path / "pid"),
        stop=("touch", str(part.hold)),
        start=("rm", "-f", str(part.hold)),
        data_dir=str(tmp_path / "data"),
        knobs={"proxy": str(tmp_path / "knob")},
    )
    yield service, part
    keeper.stop()


def make(name, service, **arguments):
    return make_fault(name, {"order": "o1", **arguments}, [service], random.Random(3))


def act_until(fault, condition, goal):
    def step():
        fault.act()
        return condition()

    until(step, goal, pause_max=0.05)


def test_killed_again_and_again(kept):
    service, part = kept
    fault = make("kill", service, every_seconds=[0.1, 0.3])
    fault.inject()
    act_until(fault, lambda: part.starts >= 3, "it was started again")
    fault.abort()
    # The last kill may have been a moment ago: its keeper starts it again.
    until(lambda: fault.check() == [], "it runs again")
    assert {reason for _, reason in part.deaths} == {"signal SIGKILL"}


def test_away_until_the_end_and_taken_back_by_another(kept):
    service, part = kept
    make("away", service).inject()
    assert service.process() is None
    assert part.hold.exists()
    other = make("away", service)
    other.abort()
    other.abort()
    assert other.check() == []
    assert not part.hold.exists()


def test_a_target_that_came_back_is_not_missing_whatever_comes_next():
    answers = iter([False, True, False])
    target = SimpleNamespace(name="engine-1", is_there=lambda: next(answers))
    assert missing([target]) == []
    assert next(answers) is False


@pytest.mark.parametrize("name", ["away", "store-damage", "directory-lost"])
def test_where_one_target_does_not_come_the_others_do(tmp_path, name):
    marks = [tmp_path / str(number) for number in range(3)]
    starts = [("touch", str(marks[0])), ("false",), ("touch", str(marks[2]))]
    targets = [
        Service(name=f"engine-{number}", role="engine", start=start, data_dir=str(tmp_path / "data"))
        for number, start in enumerate(starts)
    ]
    with pytest.raises(FaultError, match="engine-1: "):
        make_fault(name, {}, targets, random.Random(1)).abort()
    assert [mark.exists() for mark in marks] == [True, False, True]


def test_processor_taken_away(kept):
    service, _ = kept
    fault = make("throttle", service)
    fault.act()
    until(lambda: service.process().status() == psutil.STATUS_STOPPED, "it is stopped")
    assert fault.check() == ["engine-1 is stopped"]
    fault.act()
    until(lambda: service.process().status() != psutil.STATUS_STOPPED, "it goes on")
    fault.act()
    fault.abort()
    until(lambda: not fault.check(), "nothing is left")


def test_a_spare_comes_and_goes(kept):
    service, part = kept
    part.hold.touch()
    service.process().kill()
    until(lambda: service.process() is None, "it is away")
    fault = make("come", service, stay_seconds=0.5)
    fault.act()
    until(lambda: service.process() is not None, "it is added")
    fault.abort()
    assert fault.check() == []


def test_restarted_in_turn(kept):
    service, part = kept
    fault = make("rolling", service, pause_seconds=0.2)
    act_until(fault, lambda: part.starts >= 2, "it was started again")
    assert fault.check() == []
    assert {reason for _, reason in part.deaths} == {"signal SIGTERM"}


def test_a_directory_is_lost(kept):
    service, part = kept
    make_file(service, "partition-0/000001.sst")
    fault = make("directory-lost", service)
    fault.inject()
    assert list(Path(service.data_dir).iterdir()) == []
    fault.abort()
    assert fault.check() == []
    assert part.starts == 2


@pytest.mark.parametrize("name", ["directory-lost", "store-damage"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stop": ()}, "no stop of engine-1"),
        ({"pid_file": "missing"}, "cannot be seen"),
        ({"data_dir": ""}, "no data_dir"),
        ({"stop": ("rm", "{pid_file}")}, "does not end"),
    ],
)
def test_the_directory_of_a_process_that_may_run_on_is_left_as_it_is(kept, name, change, reason):
    service, _ = kept
    path = make_file(service, "partition-0/000001.sst")
    if "stop" in change:
        change = {"stop": tuple(word.format(pid_file=service.pid_file) for word in change["stop"])}
    fault = make(name, msgspec.structs.replace(service, **change), age_seconds=0)

    def inject_and_act():
        fault.inject()
        fault.act()

    with pytest.raises(FaultError, match=reason):
        inject_and_act()
    assert path.read_bytes() == b"x" * 1000


def make_file(service, name, content=b"x" * 1000):
    path = Path(service.data_dir) / name
    path.write_bytes(content)
    return path


def test_files_of_a_store_are_damaged_and_the_copies_go(kept):
    service, _ = kept
    files = [make_file(service, f"partition-0/{number:06}.sst") for number in range(12)]
    fault = make("store-damage", service, age_seconds=0)
    fault.inject()
    for path in files:
        path.write_bytes(b"y" * 1000)
    fault.act()
    damaged = [path for path in files if path.read_bytes() != b"y" * 1000]
    assert len(damaged) == 4
    assert len({note.rpartition(": ")[2] for note in fault.notes if ".sst" in note}) > 1
    fault.abort()
    assert fault.check() == []


def test_no_disk_that_others_use_is_filled(kept):
    service, _ = kept
    with pytest.raises(FaultError, match="no file system of its own"):
        make("disk-full", service).inject()


def test_a_disk_of_its_own_is_filled_and_given_back(kept, tmp_path):
    disk = tmp_path / "disk"
    if not mount_disk(disk, 1):
        pytest.skip("a file system can be mounted by root only")
    try:
        fault = make("disk-full", Service(name="engine-1", role="engine", data_dir=str(disk)))
        fault.inject()
        with pytest.raises(OSError, match="No space"):
            (disk / "more").write_bytes(bytes(10_000))
        assert fault.check() != []
        fault.abort()
        assert fault.check() == []
        (disk / "more").write_bytes(bytes(10_000))
    finally:
        unmount_disk(disk)


def test_memory_is_bounded_and_the_group_goes(kept, tmp_path):
    service, _ = kept
    groups = Path(f"/proc/{service.process().pid}/cgroup").read_text()
    fault = make("memory", service, mebibytes=4, folder=str(tmp_path))
    try:
        fault.inject()
    except FaultError as error:
        pytest.skip(str(error))
    pid = service.process().pid
    assert f"backbeat-drill-{os.getuid()}-engine-1-o1" in Path(f"/proc/{pid}/cgroup").read_text()
    assert fault.check() != []
    other = make("memory", service, folder=str(tmp_path))
    other.abort()
    assert other.check() == []
    assert service.process().pid == pid
    assert Path(f"/proc/{pid}/cgroup").read_text() == groups


def test_the_clock_jumps_and_waits_do_not(tmp_path):
    library = build_clock(tmp_path / "clock.so")
    if library is None:
        pytest.skip("there is no C compiler")
    knob = tmp_path / "knob"
    program = "import time; print(time.time(), time.monotonic())"
    environment = {**os.environ, "LD_PRELOAD": str(library), CLOCK_VARIABLE: str(knob)}
    for offset in ("3600", "-3600", ""):
        knob.write_text(offset)
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        wall, monotonic = map(float, done.stdout.split())
        assert abs(wall - time.time() - float(offset or 0)) < 900
        assert abs(monotonic - time.monotonic()) < 900


@pytest.fixture
def proxied(tmp_path):
    """An echoing server behind the proxy: how to connect, and the knob."""
    server = socket.create_server(("127.0.0.1", 0))
    port, knob = free_port(), tmp_path / "knob.json"
    command = [sys.executable, "-m", "backbeat.compose.drill.faults.proxy", str(knob)]
    process = subprocess.Popen([*command, f"{port}:{server.getsockname()[1]}"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "proxy ready\n"

    def connect():
        near = socket.create_connection(("127.0.0.1", port))
        far, _ = server.accept()
        near.settimeout(60)
        far.settimeout(60)
        return near, far

    yield connect, knob, process
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    server.close()


def test_the_network_is_cut_one_way_and_breaks(proxied):
    connect, knob, process = proxied
    near, far = connect()
    near.send(b"up")
    assert far.recv(10) == b"up"
    knob.write_text('{"cut":"up"}')
    assert "cut='up'" in process.stdout.readline()
    near.send(b"waits")
    far.send(b"down")
    assert near.recv(10) == b"down"
    far.settimeout(0.5)
    with pytest.raises(TimeoutError):
        far.recv(10)
    knob.unlink()
    far.settimeout(60)
    assert far.recv(10) == b"waits"
    knob.write_text('{"loss":1}')
    assert "cut=''" in process.stdout.readline()
    assert "loss=1" in process.stdout.readline()
    near.send(b"lost")
    assert far.recv(10) == b""
    near.close()
    far.close()


class _BusyGateway(BaseHTTPRequestHandler):
    """A gateway that is always too busy."""

    protocol_version = "HTTP/1.1"
    clients: ClassVar[list[str]] = []
    status: ClassVar[int] = 429

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.clients.append(self.headers["Client-Id"])
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class _ClosedGateway(_BusyGateway):
    """A gateway that lets nobody in."""

    clients: ClassVar[list[str]] = []
    status: ClassVar[int] = 401


@pytest.mark.integration
def test_a_flood_that_a_gateway_does_not_let_in_ends_and_says_so(kafka, unique, tmp_path):
    ensure_topics(kafka, 3, 1, development=True)
    arguments = {
        "bootstrap_servers": kafka,
        "plain": True,
        "client": f"flood-{unique}",
        "per_second": 1,
        "callers": 1,
        "folder": str(tmp_path),
        "order": unique,
    }
    with ThreadingHTTPServer(("127.0.0.1", 0), _ClosedGateway) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        flood = make_fault(
            "flood", arguments, [Service(name="gateway-1", role="gateway", metrics_url=url)], random.Random(1)
        )

        def is_refused() -> bool:
            try:
                flood.inject() if flood._process is None else flood.act()
            except FaultError as error:
                return f"refuses the token of the client flood-{unique}: 401" in str(error)
            return False

        until(is_refused, "it says so")
        flood.abort()
        server.shutdown()
    assert flood.check() == []


@pytest.mark.integration
def test_a_flood_goes_on_whatever_it_is_answered_and_leaves_no_record(kafka, unique, tmp_path):
    ensure_topics(kafka, 3, 1, development=True)
    client = f"flood-{unique}"
    arguments = {
        "bootstrap_servers": kafka,
        "plain": True,
        "client": client,
        "per_second": 500,
        "callers": 2,
        "folder": str(tmp_path),
        "order": unique,
    }
    with ThreadingHTTPServer(("127.0.0.1", 0), _BusyGateway) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        targets = [Service(name="gateway-1", role="gateway", metrics_url=url)]
        flood = make_fault("flood", arguments, targets, random.Random(1))
        flood.inject()

        def is_flooded() -> bool:
            flood.act()
            return len(_BusyGateway.clients) > 10 and len(flood.check()) == 1

        until(is_flooded, "calls and records come")
        assert len(set(_BusyGateway.clients)) == 1
        # It takes no processor time that anybody else wants: a client application has processors of its own.
        assert psutil.Process(flood._process.pid).nice() == 19
        flood.abort()
        server.shutdown()
    assert flood.check() == []
    assert re.search(r"\d+ records, \d+ a second; answers to calls: 429 \d+ times; \d+ a second", flood.notes[0])
    # By a process that knows nothing but the order; and where the flood never began.
    assert make_fault("flood", arguments, targets, random.Random(1)).check() == []
    other = make_fault("flood", {**arguments, "client": f"none-{unique}"}, targets, random.Random(1))
    other.abort()
    assert other.check() == []
