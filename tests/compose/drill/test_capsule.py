"""Capsules: what they refuse, who ends them, and that nothing of a fault is left, whoever dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psutil
import pytest

from backbeat.compose.drill.abort import AbortError, abort_run
from backbeat.compose.drill.capsule.capsule import Capsule
from backbeat.compose.drill.capsule.door import Abortion, Door, ask
from backbeat.compose.drill.capsule.order import Order, OrderError, make_key, read_key, read_order
from backbeat.compose.drill.capsule.remote import CapsuleError, RemoteCapsule
from backbeat.compose.drill.capsule.state import CapsuleState
from backbeat.compose.drill.runs import ABORT_FILE
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Host
from tests.waiting import until

KEY = b"a key of nobody's"
HERE = Host(name=socket.gethostname())


def order_for(key, **changes):
    now = time.time()
    values = {
        "id": "o1",
        "fault": "hang",
        "arguments": {},
        "targets": (),
        "seed": 1,
        "host": socket.gethostname(),
        "issued_at": now,
        "until": now + 60,
        "seconds": 30.0,
        "tower_silence_seconds": 30.0,
    }
    return Order(**{**values, **changes}).signed(key)


@pytest.fixture
def target(tmp_path):
    """A process that can be hung."""
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    pid_file = tmp_path / "target.pid"
    pid_file.write_text(json.dumps({"pid": process.pid, "started": psutil.Process(process.pid).create_time()}))
    knob = tmp_path / "knob.json"
    yield Service(name="target", role="worker", pid_file=str(pid_file), knobs={"it": str(knob)})
    process.kill()
    process.wait()


def is_hanging(service):
    return service.process().status() == psutil.STATUS_STOPPED


@pytest.fixture
def remote(tmp_path, target):
    made = []

    def make(fault="hang", seconds=60.0, arguments=None, host=HERE, targets=None):
        key_file = tmp_path / "key"
        capsule = RemoteCapsule(
            fault,
            [target] if targets is None else targets,
            arguments or {},
            host=host,
            seconds=seconds,
            seed=1,
            key=make_key(key_file),
            key_file=key_file,
            folder=tmp_path / "capsules",
        )
        made.append(capsule)
        return capsule

    yield make
    for capsule in made:
        if capsule.state.url and capsule.state.left is None:
            capsule.abort("the test", "it is over")
            capsule.wait(60)


def test_an_order_is_refused_elsewhere_later_and_when_it_was_changed(tmp_path):
    key = make_key(tmp_path / "key")
    order = order_for(key)
    here = socket.gethostname()
    order.check(key, here)
    for changed, host, now, reason in (
        (order, "elsewhere", None, "is for the host"),
        (order, here, order.until + 1, "expired"),
        (order, here, order.issued_at - 60, "from now"),
        (msgspec.structs.replace(order, seconds=600.0), here, None, "signature"),
        (msgspec.structs.replace(order, host="elsewhere"), "elsewhere", None, "signature"),
    ):
        with pytest.raises(OrderError, match=reason):
            changed.check(key, host, now)
    with pytest.raises(OrderError, match="signature"):
        order.check(b"another key of whoever", here)
    with pytest.raises(OrderError, match="cannot be read"):
        read_order(b'{"id":1}')


def test_a_key_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "key"
    make_key(path)
    path.chmod(0o644)
    with pytest.raises(OrderError, match="chmod 600"):
        read_key(path)


@pytest.fixture
def door():
    door = Door(KEY, "127.0.0.1", lambda: b"{}", lambda _: None)
    yield door
    door.close()


@pytest.mark.parametrize("length", ["-1", "65537", "1_0", "9" * 5000])
def test_a_body_without_bounds_is_not_read_before_its_signature(door, length):
    address = urlsplit(door.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        # Nothing follows: whoever reads on waits.
        connection.sendall(f"POST /abort HTTP/1.1\r\nContent-Length: {length}\r\n\r\n".encode())
        assert connection.makefile("rb").read().startswith(b"HTTP/1.0 400 ")


def test_no_proxy_of_the_environment_is_asked(door, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert ask(KEY, door.url, "/state") == {}


def test_it_ends_by_itself_and_leaves_nothing(remote, target):
    capsule = remote(seconds=1.0)
    capsule.launch()
    until(lambda: is_hanging(target), "it hangs")
    state = capsule.wait(60)
    assert (state.ended_by, state.left) == ("its time", [])
    assert not is_hanging(target)


def test_whoever_has_the_key_ends_it_and_nobody_else(remote, target, tmp_path):
    capsule = remote()
    capsule.launch()
    until(lambda: is_hanging(target), "it hangs")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(b"another key of whoever", capsule.state.url, "/abort", Abortion("a stranger", "for fun"))
    assert is_hanging(target)
    ask(read_key(tmp_path / "key"), capsule.state.url, "/abort", Abortion("Ada", "enough"))
    state = capsule.wait(60)
    assert (state.ended_by, state.reason, state.left) == ("Ada", "enough", [])
    assert not is_hanging(target)


def test_a_run_is_ended_from_outside(remote, target, tmp_path):
    capsule = remote()
    capsule.launch()
    until(lambda: is_hanging(target), "it hangs")
    lines = list(abort_run(tmp_path, "Ada"))
    assert lines[1:] == ["hang on target: ended."]
    assert (tmp_path / ABORT_FILE).read_text() == "Ada"
    state = capsule.wait(60)
    assert (state.ended_by, state.left) == ("Ada", [])


def test_a_run_is_ended_where_its_capsule_was_killed(remote, target, tmp_path):
    capsule = remote()
    capsule.launch()
    until(lambda: is_hanging(target), "it hangs")
    os.kill(capsule.state.pid, signal.SIGKILL)
    assert list(abort_run(tmp_path, "Ada"))[1:] == ["hang on target: ended."]
    assert not is_hanging(target)
    assert list(abort_run(tmp_path, "Ada"))[1:] == []
    orders = list((tmp_path / "capsules").glob("*.order"))
    assert [stat.S_IMODE(path.stat().st_mode) for path in orders] == [0o600]


def test_whoever_ends_a_run_is_told_what_is_left(remote, tmp_path):
    mark = tmp_path / "mark"
    arguments = {"inject": ["touch", str(mark)], "check": ["test", "!", "-e", str(mark)]}
    remote("script", arguments=arguments).launch()
    with pytest.raises(AbortError, match="script on target: check ended with 1"):
        list(abort_run(tmp_path, "Ada"))


def test_what_did_not_begin_has_nothing_to_take_back(remote):
    capsule = remote("earthquake")
    with pytest.raises(CapsuleError):
        capsule.launch()
    assert capsule.take_back("the test", "it is over", 60).left == []


def start_alone(tmp_path, order, *words):
    """A capsule without a tower that asks for it."""
    folder = tmp_path / "capsules"
    command = [sys.executable, "-m", "backbeat.compose", "drill", "capsule", "--key-file", str(tmp_path / "key")]
    process = subprocess.Popen(
        [*command, "--folder", str(folder), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdin.write(msgspec.json.encode(order))
    process.stdin.close()
    process.stdin = None
    return process


def test_it_ends_when_the_tower_is_gone(tmp_path, target):
    order = order_for(make_key(tmp_path / "key"), targets=(target,), tower_silence_seconds=1.0)
    process = start_alone(tmp_path, order)
    until(lambda: is_hanging(target), "it hangs")
    until(lambda: not is_hanging(target), "it goes on")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    last = msgspec.json.decode(output.splitlines()[-1], type=CapsuleState)
    assert (last.ended_by, last.left) == ("the capsule", [])
    assert "the tower is gone" in last.reason
    again = start_alone(tmp_path, order)
    _, errors = again.communicate(timeout=60)
    assert again.returncode == 2
    assert b"carried out before" in errors


def test_what_was_not_carried_out_or_is_taken_back_is_not_undone(tmp_path, target):
    order = order_for(make_key(tmp_path / "key"), targets=(target,))
    state = CapsuleState(id=order.id, fault="hang", targets=["target"], host=order.host, left=[])
    for reason in (b"it was not carried out here", b"nothing of it is left"):  # the second time there is a state
        undo = start_alone(tmp_path, order, "--undo")
        _, errors = undo.communicate(timeout=60)
        assert (undo.returncode, reason in errors) == (3, True), errors
        state.write(tmp_path / "capsules")


def test_it_takes_its_fault_back_when_its_host_ends_it(remote, target):
    capsule = remote()
    capsule.launch()
    until(lambda: is_hanging(target), "it hangs")
    os.kill(capsule.state.pid, signal.SIGTERM)
    assert capsule.wait(60).ended_by == "the host"
    assert not is_hanging(target)


def test_a_capsule_that_was_killed_is_taken_back(remote, target):
    capsule = remote()
    capsule.launch()
    until(lambda: is_hanging(target), "it hangs")
    os.kill(capsule.state.pid, signal.SIGKILL)
    state = capsule.wait(60)
    assert (state.ended_by, state.left) == ("the tower", [])
    assert not is_hanging(target)


def test_what_cannot_be_injected_is_refused_and_changes_nothing(remote):
    with pytest.raises(CapsuleError, match="a knob 'other' here"):
        remote("knob", arguments={"knob": "other", "value": 1}).launch()
    with pytest.raises(CapsuleError, match="there is no fault 'earthquake'"):
        remote("earthquake").launch()


def test_a_host_that_calls_itself_otherwise_refuses(remote):
    # As through ssh, to the wrong machine.
    capsule = remote(host=Host(name="kafka-1", run=("env", f"PATH={Path(sys.executable).parent}"), hostname="kafka-1"))
    assert capsule.order.host == "kafka-1"
    with pytest.raises(CapsuleError, match="is for the host 'kafka-1'"):
        capsule.launch()


def run_here(tmp_path, arguments, targets=(), *, spoil=False):
    """A capsule within the test, which ends at once since nobody asks."""
    folder = tmp_path / "capsules"
    order = order_for(KEY, fault="script", arguments=arguments, targets=targets, tower_silence_seconds=0.0)
    capsule = Capsule(order, KEY, folder)
    if spoil:
        shutil.rmtree(folder)
        folder.touch()
    return capsule.run()


@pytest.mark.parametrize("spoil", [False, True], ids=["a check that cannot run", "a state that cannot be kept"])
def test_a_capsule_that_stumbles_takes_its_fault_back(tmp_path, spoil):
    mark = tmp_path / "mark"
    arguments = {"inject": ["touch", str(mark)], "abort": ["rm", str(mark)], "check": [str(tmp_path / "missing")]}
    state = run_here(tmp_path, arguments, spoil=spoil)
    assert not mark.exists()
    assert state.phase == "ended"
    assert "it is not known what is left" in state.left[0]
    assert any("could not be kept" in note for note in state.notes) == spoil


def test_scripts_of_a_user(remote, target, tmp_path):
    mark = tmp_path / "mark"
    arguments = {
        "inject": ["sh", "-c", f"echo $DRILL_TARGETS $DRILL_PIDS > {mark}"],
        "abort": ["rm", "-f", str(mark)],
        "check": ["sh", "-c", f"test ! -e {mark} || {{ echo {mark} is there; false; }}"],
    }
    capsule = remote("script", arguments=arguments, seconds=60.0)
    capsule.launch()
    assert mark.read_text() == f"target {target.process().pid}\n"
    capsule.abort("the test", "seen")
    assert capsule.wait(60).left == []
    left = remote("script", arguments={**arguments, "abort": ["true"]}, seconds=0.2)
    left.launch()
    assert left.wait(60).left == [f"{mark} is there"]
