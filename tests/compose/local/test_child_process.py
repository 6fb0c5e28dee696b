"""A child process: started, stopped, killed, found again."""

import json
import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.local.child_process import ChildProcess, stop_left_over
from tests.waiting import until

SAYS_READY = "print('ready', flush=True)"
SLEEPS = f"import time; {SAYS_READY}; time.sleep(600)"
IGNORES_SIGTERM = f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SAYS_READY}; time.sleep(600)"


@pytest.fixture
def make(tmp_path):
    """Makes parts, and leaves none behind."""
    parts = []

    def made(code: str, **words: object) -> ChildProcess:
        part = ChildProcess(
            "part",
            [sys.executable, "-c", code],
            log_path=tmp_path / "log" / "part.log",
            pid_path=tmp_path / "log" / "part.pid",
            **words,
        )
        parts.append(part)
        return part

    yield made
    for part in parts:
        part.kill()


def wait_for(part: ChildProcess, text: str) -> None:
    def is_there() -> bool:
        assert part.running, part.output()
        return text in part.output()

    until(is_there, f"{text!r} in the output")


def test_runs_until_stopped(make):
    part = make(SLEEPS)
    assert (part.running, part.pid) == (False, None)

    part.start()
    wait_for(part, "ready")
    assert part.running
    part.stop()

    assert not part.running
    assert part.exit_reason == "signal SIGTERM"
    assert not part.pid_path.exists()


def test_one_that_ignores_sigterm_is_killed(make):
    part = make(IGNORES_SIGTERM, stop_seconds=0.2)
    part.start()
    wait_for(part, "ready")

    part.stop()

    assert part.exit_reason == "signal SIGKILL"


def test_one_that_hangs_is_stopped_all_the_same(make):
    part = make(SLEEPS)
    part.start()
    wait_for(part, "ready")
    part.signal(signal.SIGSTOP)

    part.stop()

    assert part.exit_reason == "signal SIGTERM"


def test_exit_code_is_the_exit_reason(make):
    part = make("import sys; sys.exit(3)")
    part.start()

    assert part.wait(120)
    assert part.exit_reason == "exit code 3"


def test_output_is_that_of_the_newest_start(make):
    part = make("import os; print(os.environ['WORD'], flush=True)", env={"WORD": "first"})
    part.start()
    part.wait(120)
    part.env["WORD"] = "second"
    part.start()
    part.wait(120)

    assert part.output() == "second\n"
    assert part.log_path.read_text() == "first\nsecond\n"


def test_program_that_is_not_there(make):
    part = make("")
    part.command = ["/nothing/here"]

    with pytest.raises(SetupError, match="part cannot be started: there is no program /nothing/here"):
        part.start()


def test_left_over_is_found_and_stopped(make, tmp_path):
    part = make(SLEEPS)
    part.start()
    wait_for(part, "ready")

    assert stop_left_over(part.pid_path) == part.pid

    assert part.wait(120)
    assert not part.pid_path.exists()


def test_left_over_that_ignores_sigterm_is_killed(make):
    part = make(IGNORES_SIGTERM)
    part.start()
    wait_for(part, "ready")

    assert stop_left_over(part.pid_path, seconds=0.2) == part.pid
    assert not psutil.pid_exists(part.pid)


def test_pid_that_came_round_is_left_alone(tmp_path):
    path = tmp_path / "pid"
    # This process has the pid, but started at another time.
    path.write_text(json.dumps({"pid": os.getpid(), "started": psutil.Process().create_time() - 100}))

    assert stop_left_over(path) is None
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 0, "started": 0}'])
def test_spoilt_pid_file_is_none(tmp_path, text):
    path = tmp_path / "pid"
    path.write_text(text)

    assert stop_left_over(path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")
def test_part_does_not_outlive_a_killed_parent(tmp_path):
    code = f"""
import sys
from pathlib import Path
from backbeat.compose.local.child_process import ChildProcess
folder = Path({str(tmp_path)!r})
part = ChildProcess("part", [sys.executable, "-c", {SLEEPS!r}], log_path=folder / "log", pid_path=folder / "pid")
part.start()
print(part.pid, flush=True)
sys.stdin.read()
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with parent:
        child = psutil.Process(int(parent.stdout.readline()))
        # The program before the child's asks the kernel for it: until then nobody would end it.
        until(lambda: "ready" in (tmp_path / "log").read_text(), "the child is there")
        parent.kill()

    gone, alive = psutil.wait_procs([child], timeout=120)
    assert (len(gone), alive) == (1, [])


def test_stop_from_several_threads(make):
    part = make(SLEEPS)
    part.start()
    wait_for(part, "ready")
    threads = [threading.Thread(target=part.stop) for _ in range(3)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not part.running
