"""Shaped traffic: rules of the kernel on a device, in a network of the test's own."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys

import pytest

from backbeat.compose.drill.faults.fault import FaultError
from backbeat.compose.drill.faults.shape import Shape
from backbeat.compose.drill.topology.service import Service

#: A second fault, made anew, takes back what the first one has added.
CODE = """
import random, subprocess
from backbeat.compose.drill.faults.fault import FaultError
from backbeat.compose.drill.faults.shape import Shape

def fault(targets=(), **arguments):
    return Shape({"device": "lo", "order": "111aaaa", **arguments}, targets, random.Random(1))

def kinds():
    return subprocess.run(["tc", "qdisc", "show", "dev", "lo"], capture_output=True, text=True, check=True).stdout

slow = fault(qdisc="tbf", words=["rate", "1mbit", "burst", "10k", "latency", "50ms"])
slow.inject()
assert "tbf d111:" in kinds(), kinds()
assert slow.notes == ["lo: tbf rate 1mbit burst 10k latency 50ms"]
assert fault().check() == ["the rule d111: of lo is there"]
other = fault(order="222bbbb")
try:
    other.inject()
except FaultError as error:
    assert "rules already (tbf)" in str(error), error
else:
    raise AssertionError("the rule of another capsule was lost")
other.abort()
assert "tbf d111:" in kinds(), kinds()
fault().abort()
fault().abort()
assert fault().check() == []
assert "tbf" not in kinds()
for wrong in (fault(qdisc="no-such-kind"), fault(device="no-such-device")):
    try:
        wrong.inject()
    except FaultError as error:
        assert "`tc " in str(error), error
    else:
        raise AssertionError("it was injected")
subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", "handle", "7:", "tbf", *slow.arguments["words"]], check=True)
try:
    fault().inject()
except FaultError as error:
    assert "rules already (tbf)" in str(error), error
else:
    raise AssertionError("somebody's rule was lost")
fault().abort()
assert "tbf 7:" in kinds(), kinds()
"""


def test_no_pod_is_taken_for_a_process_of_this_host():
    pod = Service(name="engine-0", role="engine", host="node-1", signals={"SIGKILL": ("true",)})
    fault = Shape({"device": "lo", "order": "111aaaa"}, [pod], random.Random(1))
    with pytest.raises(FaultError, match="engine-0 cannot be seen on the host that would be shaped"):
        fault.inject()


def test_a_rule_is_added_and_taken_away_and_somebodys_own_is_left():
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("tc") is None:
        pytest.skip("a network of the test's own needs unshare, tc (Debian: iproute2) and root")
    command = ["unshare", "--net", sys.executable, "-c", CODE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
