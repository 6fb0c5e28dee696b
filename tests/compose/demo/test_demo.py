"""`backbeat demo` as a user runs it: it ends by itself, well, and says what it checked."""

import os
import re
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

SECONDS_MAX = 540.0
COMMAND = [sys.executable, "-m", "backbeat.compose", "demo", "--plain"]


def run_demo(**more):
    """Run the demo in a group of its own, so that a test that gives up leaves nothing behind."""
    process = subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, **more
    )
    try:
        output, _ = process.communicate(timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.terminate()
        output, _ = process.communicate(timeout=120)
        pytest.fail(f"the demo did not end within {SECONDS_MAX:.0f} s:\n{output}")
    return process.returncode, output


def test_all_six_cases_run_and_every_check_holds():
    code, output = run_demo()

    assert code == 0, output
    assert "✗" not in output
    assert [int(number) for number in re.findall(r"^(\d)\. ", output, re.MULTILINE)] == [1, 2, 3, 4, 5, 6]
    for line in (
        "the money is reserved and the camera marked purchased, once",
        "all are complete, parents after their children",
        "the customer was charged once",
        "never two at the same time",
        "they ran in the order in which they were sent",
        "at most 3 transfers at a time",
        "every slot came back",
        "everything completed all the same",
    ):
        assert f"✓ {line}" in output
    assert re.search(r"✓ the join took \d+\.\d\d s", output)
    assert re.search(r"✓ the engine was killed when [\d,]+ of 1,000 were packed", output)
    assert re.search(r"All \d+ checks hold", output)


def test_the_demo_stops_all_its_processes_at_sigterm():
    process = subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "engine pid" in line:
            break
    engine = int(re.search(r"engine pid (\d+)", "".join(lines))[1])
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=120)

    assert process.returncode == 1
    assert "the demo was interrupted" in rest
    with pytest.raises(ProcessLookupError):
        os.kill(engine, 0)
