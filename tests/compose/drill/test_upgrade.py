"""Upgrades in a drill: a wheel of the version before in an environment of its own, its services replaced in turn."""

from __future__ import annotations

import random
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.program import backbeat
from backbeat.compose.drill.faults.fault import FaultError
from backbeat.compose.drill.faults.upgrade import Upgrade
from backbeat.compose.drill.plays.playbook import PLAYBOOK
from backbeat.compose.drill.targets import choose_targets
from backbeat.compose.drill.topology.keeper import Keeper, Part
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Topology
from backbeat.compose.drill.topology.wheel import PYTHON_KNOB, by_knob, install_wheel
from backbeat.compose.local.child_process import ChildProcess
from tests.waiting import until

_INFO = "backbeat-0.0.1.dist-info"
_FILES = {
    "backbeat/__init__.py": "",
    "backbeat/compose/__init__.py": "import msgspec\n",
    "backbeat/compose/__main__.py": "",
    f"{_INFO}/METADATA": "Metadata-Version: 2.1\nName: backbeat\nVersion: 0.0.1\n",
    f"{_INFO}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{_INFO}/RECORD": "",
}
#: A service that says which Backbeat it is.
_SERVICE = "import backbeat.compose, signal; print(backbeat.compose.__file__, flush=True); signal.pause()"


def make_wheel(folder, files):
    wheel = folder / "backbeat-0.0.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


@pytest.fixture
def keeper():
    keeper = Keeper()
    keeper.start()
    yield keeper
    keeper.stop()


def test_services_of_a_wheel_are_replaced_by_todays(tmp_path, keeper):
    python = install_wheel(make_wheel(tmp_path, _FILES), tmp_path / "before")
    parts, targets = [], []
    for number in (1, 2):
        name = f"engine-{number}"
        knob, log = tmp_path / f"{name}.python", tmp_path / f"{name}.log"
        command = by_knob([sys.executable, "-c", _SERVICE], python, knob)
        process = ChildProcess(name, command, log_path=log, pid_path=log.with_suffix(".pid"))
        parts.append(Part(name, process, tmp_path / "hold", is_ready=lambda process=process: bool(process.output())))
        knobs = {PYTHON_KNOB: str(knob)}
        targets.append(Service(name=name, role="engine", pid_file=str(process.pid_path), knobs=knobs))
    keeper.add(parts)
    keeper.wait_ready(parts)
    assert all(str(tmp_path / "before") in part.process.output() for part in parts)
    upgrade = Upgrade({"pause_seconds": 0}, targets, random.Random(1))
    upgrade.inject()
    assert upgrade.check() == [f"engine-{number} is of the version before still" for number in (1, 2)]
    upgrade.act()
    # One at a time.
    assert [Path(target.knobs[PYTHON_KNOB]).read_text() for target in targets] == [sys.executable, str(python)]
    until(lambda: parts[0].starts == 2 and parts[0].process.output(), "the first has come again")
    # What is left when the time is over.
    upgrade.abort()
    until(lambda: parts[1].starts == 2 and parts[1].process.output(), "the second has come again")
    assert upgrade.check() == []
    assert not any(str(tmp_path / "before") in part.process.output() for part in parts)
    assert upgrade.notes[1] == "left when the time was over: engine-2"


def test_a_wheel_that_does_not_start_here_is_refused(tmp_path):
    files = {**_FILES, "backbeat/compose/__init__.py": "import no_such_thing\n"}
    with pytest.raises(SetupError, match=r"(?s)does not start here:.*no_such_thing"):
        install_wheel(make_wheel(tmp_path, files), tmp_path / "before")
    (tmp_path / "broken-1-py3-none-any.whl").write_text("no wheel")
    for name in ("broken-1-py3-none-any.whl", "none-1-py3-none-any.whl"):
        with pytest.raises(SetupError, match="cannot be installed"):
            install_wheel(tmp_path / name, tmp_path / "other")


def test_it_is_played_on_what_was_started_so_and_in_the_order_of_roles():
    (play,) = (play for play in PLAYBOOK if play.name == "rolling-upgrade")
    roles = ["worker", "gateway", "engine", "gateway", "engine"]
    topology = Topology([Service(name=f"{role}-{number}", role=role) for number, role in enumerate(roles)])
    targets = choose_targets(play, topology, random.Random(1))
    assert [target.role for target in targets] == ["engine", "engine", "gateway", "gateway", "worker"]
    with pytest.raises(FaultError, match="--from-wheel"):
        Upgrade({}, targets, random.Random(1)).inject()
    words = ["drill", "run", "1", "--units", "x", "--from-wheel", __file__]
    refused = CliRunner().invoke(backbeat, words)
    assert refused.exit_code == 2, refused.output
