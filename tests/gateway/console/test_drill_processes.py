"""Processes of drills that a gateway begins: they are the command line's, one at a time, once for a form."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from pathlib import Path

import msgspec
import pytest

from backbeat.gateway.console.pages.operations import drill_processes
from backbeat.gateway.console.pages.operations.drill_processes import HERE, BusyError, Drills, RefusedError
from backbeat.gateway.console.pages.operations.drill_runs import (
    Request,
    RunSummary,
    is_under_way,
    last_output,
    list_names,
    read_request,
    read_run,
)
from backbeat.gateway.settings import UiSettings
from tests.waiting import until

TOPOLOGY = """
bootstrap_servers = "127.0.0.1:1"
[[service]]
name = "engine-<b>"
role = "engine"
"""


def request(key: str, *plays: str) -> Request:
    return Request(key=key, actor="kim", reason="why", plays=list(plays or ["engine-killed"]), installation="staging")


@pytest.fixture
def drills(tmp_path: Path) -> Drills:
    topology = tmp_path / "staging.toml"
    topology.write_text(TOPOLOGY)
    return Drills(UiSettings(drills=tmp_path / "runs", drill_topologies=(topology, Path(HERE))))


def test_what_can_be_chosen_is_what_the_command_line_has(drills: Drills) -> None:
    assert "engine-killed" in [play.name for play in drills.plays()]
    assert list(drills.installations) == ["staging", HERE]
    assert drills.services("staging") == ["engine-<b>"]
    assert drills.services(HERE) == []


def test_a_run_is_begun_once_and_alone_and_says_why_it_ended(drills: Drills) -> None:
    # Nothing listens there: the run is under way until it knows that.
    name = drills.start(request("a"), 5)
    assert is_under_way(drills.folder, name)
    assert drills.start(request("a"), 5) == name
    with pytest.raises(BusyError, match=f"Run {name} is under way"):
        drills.start(request("b"), 5)
    begun = read_request(drills.folder, name)
    assert begun is not None
    assert (begun.actor, begun.reason, begun.installation) == ("kim", "why", "staging")
    assert drills.abort(name, "kim (console)") is True
    assert (drills.folder / name / "abort").read_text() == "kim (console)"
    until(lambda: not is_under_way(drills.folder, name), "the run is over")
    assert "127.0.0.1:1 does not answer" in last_output(drills.folder, name)
    # A form that comes again begins no second run, also once the first is over.
    assert drills.start(request("a"), 5) == name
    assert list_names(drills.folder, 10) == [name]
    run = read_run(drills.folder, name, RunSummary)
    assert run is not None
    assert not run.has_ended


def test_what_the_command_line_refuses_is_said_in_its_words(drills: Drills) -> None:
    with pytest.raises(RefusedError, match="no-such-play"):
        drills.start(request("c", "no-such-play"), None)
    with pytest.raises(RefusedError, match="there is no run 20260101-000000"):
        drills.abort("20260101-000000", "kim: why\0not")
    # The form may be sent again: nothing was begun by it.
    with pytest.raises(RefusedError, match="no-such-play"):
        drills.start(request("c", "no-such-play"), None)


def test_a_run_has_nothing_of_the_gateways_own(drills: Drills, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "print_environment.py"
    program.write_text("import json, os; print(json.dumps(dict(os.environ)))")
    monkeypatch.setattr(drill_processes, "_PROGRAM", (sys.executable, str(program)))
    own = {"DATABASE_URL", "ARCHIVE_TO", "UI_SECRET_FILE", "APPLICATION_ID", "CONFIG"}
    for name in (*own, "KAFKA_PASSWORD", "KAFKA_JAVA_OPTIONS"):
        monkeypatch.setenv(f"BACKBEAT_{name}", "secret")
    inherited = {}
    for installation in ("staging", HERE):
        with pytest.raises(RefusedError, match="ended at once"):
            drills.start(msgspec.structs.replace(request(installation), installation=installation), None)
        (text,) = (path.read_text() for path in drills.folder.glob("*/output"))
        shutil.rmtree(drills.folder)
        inherited[installation] = set(json.loads(text)) & set(os.environ)
    names = {name.removeprefix("BACKBEAT_") for name in inherited["staging"]}
    assert "PATH" in names
    assert names & (own | {"KAFKA_PASSWORD", "KAFKA_JAVA_OPTIONS"}) == {"KAFKA_PASSWORD", "KAFKA_JAVA_OPTIONS"}
    assert inherited["staging"] - inherited[HERE] == {"BACKBEAT_KAFKA_PASSWORD"}


def test_a_run_that_somebody_else_plays_is_under_way(drills: Drills) -> None:
    path = drills.folder / "20260101-000000"
    path.mkdir(parents=True)
    assert not is_under_way(drills.folder, path.name)
    with (path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert is_under_way(drills.folder, path.name)
        with pytest.raises(BusyError):
            drills.start(request("d"), None)
    assert not is_under_way(drills.folder, path.name)
