"""A minute of drill: a whole run on the Kafka of all tests, with two plays, its report, and its end by hand."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

_RUN_SECONDS_MAX = 600
_PLAYS = """
[[play]]
name = "engine-dies"
summary = "the engine is killed now and then"
fault = "kill"
targets = "engine:all"
arguments = { every_seconds = [4, 5] }
seconds = 8

[[play]]
name = "too-tight"
summary = "a bound that cannot be kept while no worker works"
fault = "hang"
targets = "worker:all"
seconds = 170
bounds = [{ figure = "oldest_open_seconds", at_most = 15 }]
"""


@pytest.fixture
def drill(kafka, tmp_path):
    """The command line, on a Kafka that is there."""

    def command(*words: str) -> list[str]:
        small = ["--bootstrap-servers", kafka, "--engines=1", "--gateways=1", "--workers=1", "--partitions=2"]
        folder = ["--folder", str(tmp_path / "runs")]
        few = [*small, "--per-second=3", "--seed=7"] if words[0] in ("run", "certify") else []
        return [sys.executable, "-m", "backbeat.compose", "drill", *words, *folder, *few]

    return command


def result_of(folder: Path):
    (run,) = (folder / "runs").iterdir()
    return json.loads((run / "result.json").read_text()), run


def test_a_run_keeps_its_bounds_and_one_that_does_not_is_ended(drill, tmp_path):
    plays = tmp_path / "plays.toml"
    plays.write_text(_PLAYS)
    command = drill("run", "engine-dies", "too-tight", "--playbook", str(plays))
    done = subprocess.run(command, capture_output=True, text=True, timeout=_RUN_SECONDS_MAX, check=False)
    result, run = result_of(tmp_path)
    killed, tight = result["plays"]
    assert done.returncode == 1, done.stdout + done.stderr
    assert killed["failed"] == [], done.stdout
    assert killed["capsule"]["left"] == []
    assert any("SIGKILL" in note for note in killed["capsule"]["notes"])
    assert killed["medians"]["completed_per_second"][0] > 0
    assert tight["ended_by"] == "the watch"
    assert "oldest_open_seconds at most 15" in tight["anomaly"]
    assert tight["anomaly_seconds"] is not None
    assert tight["seconds"] < 170
    assert tight["capsule"]["left"] == []
    totals = result["totals"]
    assert (totals["lost"], totals["paid_twice"]) == (0, 0)
    assert totals["asked"] == totals["taken"] == totals["completed"] > 30
    assert result["verdict"]["agrees"], result["verdict_lines"]
    assert result["failed"] == []
    assert result["version"] == importlib.metadata.version("backbeat")
    assert {each["service"] for each in result["words"]} >= {"engine-1", "gateway-1", "worker-1", "endpoint"}
    assert "<svg" in (run / "report.html").read_text()
    assert [path.name for path in (run / "stage").iterdir()] == ["log"]
    assert re.search(r"FAILED: 1 of 2 plays", done.stdout)
