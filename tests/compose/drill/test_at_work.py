"""Workers killed while an activity is at work: by their metrics, whatever the moment is."""

from __future__ import annotations

import random
import sys

import pytest

from backbeat.compose.drill.faults.catalogue import make_fault
from backbeat.compose.drill.faults.fault import FaultError
from backbeat.compose.drill.topology.keeper import Keeper, Part
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.local.child_process import ChildProcess
from backbeat.compose.local.ports import free_port
from tests.waiting import until

#: A process that says it is at work while a file is there.
_WORKER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Metrics(BaseHTTPRequestHandler):
    def do_GET(self):
        count = 3 if Path(sys.argv[2]).exists() else 0
        text = f'backbeat_worker_activities_running{{activity="a"}} {count}\\n'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


HTTPServer(("127.0.0.1", int(sys.argv[1])), Metrics).serve_forever()
"""


@pytest.fixture
def worker(tmp_path):
    """The worker as a service, the part that keeps it, and the file."""
    port, at_work = free_port(), tmp_path / "at-work"
    process = ChildProcess(
        "worker-1",
        [sys.executable, "-c", _WORKER, str(port), str(at_work)],
        log_path=tmp_path / "log",
        pid_path=tmp_path / "pid",
    )
    part = Part("worker-1", process, tmp_path / "hold")
    keeper = Keeper()
    keeper.start()
    keeper.add([part])
    service = Service(
        name="worker-1",
        role="worker",
        pid_file=str(tmp_path / "pid"),
        metrics_url=f"http://127.0.0.1:{port}/metrics",
        knobs={"steps": str(tmp_path / "steps")},
    )
    until(service.answers, "it serves its metrics")
    yield service, part, at_work
    keeper.stop()


def test_a_worker_is_killed_once_it_is_at_work_and_not_before(worker, tmp_path):
    service, part, at_work = worker
    fault = make_fault("kill-at-work", {"every_seconds": [0, 0], "step_seconds": 0.5}, [service], random.Random(1))
    fault.inject()
    assert (tmp_path / "steps").read_text() == "0.5"
    for _ in range(5):
        fault.act()
    assert part.deaths == []
    at_work.touch()
    fault.act()
    until(lambda: len(part.deaths) == 1, "it was killed")
    at_work.unlink()
    fault.abort()
    assert fault.notes[1] == "worker-1: 3 activities were at work"
    until(lambda: fault.check() == [], "it is there again, and the knob is gone")


def test_a_play_in_which_no_worker_was_at_work_says_so(worker, tmp_path):
    service, _, _ = worker
    fault = make_fault("kill-at-work", {"every_seconds": [0, 0]}, [service], random.Random(1))
    fault.inject()
    fault.act()
    with pytest.raises(FaultError, match="no target was seen at work"):
        fault.abort()
    assert fault.check() == []
    # Another process takes it back without a word, and twice.
    make_fault("kill-at-work", {}, [service], random.Random(1)).abort()


def test_a_worker_without_metrics_is_refused():
    silent = Service(name="worker-1", role="worker", pid_file="/dev/null")
    with pytest.raises(FaultError, match="worker-1 does not say whether it is at work"):
        make_fault("kill-at-work", {}, [silent], random.Random(1)).inject()
