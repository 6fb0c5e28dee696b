"""The systemd units: valid for systemd, hardened, and with words that the programs understand."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from backbeat.streams.process.settings import EngineSettings
from tests.compose.deploy.files import SYSTEMD
from tests.compose.deploy.words import accept

UNITS = {
    "backbeat-engine@.service": "1",
    "backbeat-gateway@.service": "9292",
    "backbeat-projection.service": "",
}
PROGRAM = "/opt/backbeat/bin/backbeat"


def test_there_are_no_other_units():
    assert {path.name for path in SYSTEMD.glob("*.service")} == set(UNITS)


@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_it_and_calls_it_hardened(name, tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed (Debian: apt-get install systemd)")
    # The program is not installed where the unit looks for it; another stands in, for the check of the words around it.
    text = (SYSTEMD / name).read_text()
    assert PROGRAM in text
    (tmp_path / name).write_text(text.replace(PROGRAM, sys.executable))
    unit = tmp_path / name.replace("@", f"@{UNITS[name]}")
    verified = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    # Of ten; 20 is 2.0.
    scored = subprocess.run(
        [analyze, "security", "--offline=yes", "--threshold=20", str(unit)], capture_output=True, text=True, check=False
    )

    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    assert scored.returncode == 0, scored.stdout


@pytest.mark.parametrize(("name", "instance"), UNITS.items())
def test_the_programs_understand_what_a_unit_and_its_settings_say(name, instance):
    text = (SYSTEMD / name).read_text().replace("%i", instance).replace("%H", "machine-a")
    given = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, re.MULTILINE))
    given |= dict(re.findall(r"^(\w+)=(.+)$", (SYSTEMD / "backbeat.env.example").read_text(), re.MULTILINE))
    (command,) = re.findall(rf"^ExecStart={PROGRAM} (.*)$", text, re.MULTILINE)

    accept(command.split(), given)
    assert "EnvironmentFile=/etc/backbeat/backbeat.env" in text


def test_an_engine_has_time_to_commit_and_nothing_is_started_again_where_that_does_not_help():
    text = (SYSTEMD / "backbeat-engine@.service").read_text()

    assert int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[1]) > EngineSettings().commit_timeout_seconds
    for name in UNITS:
        text = (SYSTEMD / name).read_text()
        assert "RestartPreventExitStatus=4" in text
        assert "Restart=always" in text


def test_the_example_holds_no_password():
    text = (SYSTEMD / "backbeat.env.example").read_text()

    assert re.findall(r"^PGPASSWORD=(.*)$", text, re.MULTILINE) == [""]
    assert re.search(r"://[^/@]*:[^/@]*@", text) is None
