"""The playbook, a user's own plays, and reports of runs that are kept."""

from __future__ import annotations

import itertools
import json
import os
import random
import re

import msgspec
import pytest
from click.testing import CliRunner

from backbeat.compose.cli.program import backbeat
from backbeat.compose.drill.capsule.state import CapsuleState
from backbeat.compose.drill.faults.catalogue import FAULTS
from backbeat.compose.drill.load.account import Totals, WayFigures
from backbeat.compose.drill.plays.playbook import PLAYBOOK, PlaybookError, all_plays, choose
from backbeat.compose.drill.plays.soak import draw, is_drawn, until_over
from backbeat.compose.drill.report.curves import add_figures
from backbeat.compose.drill.report.page import render
from backbeat.compose.drill.report.result import PlayResult, RunResult, Words
from backbeat.compose.drill.report.text import text_lines
from backbeat.compose.drill.runs import list_runs, new_run, read_result, write_result
from backbeat.compose.drill.targets import choose_targets
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Topology, TopologyError
from backbeat.compose.drill.tower import Tower
from backbeat.compose.drill.watch.bounds import TIME
from backbeat.compose.drill.watch.footprint import Footprint, grown

OWN = """
[[play]]
name = "cache-gone"
summary = "the cache is emptied"
fault = "script"
targets = "shop:1/2"
seconds = 5
bounds = [{ figure = "oldest_open_seconds", at_most = 30 }]

[play.arguments]
inject = ["redis-cli", "flushall"]
"""


def test_every_play_has_a_fault_and_a_place():
    assert {play.fault for play in PLAYBOOK} <= set(FAULTS)
    assert {play.number for play in PLAYBOOK} == set(range(1, 19))
    assert len({play.name for play in PLAYBOOK}) == len(PLAYBOOK)


@pytest.mark.parametrize("play", PLAYBOOK, ids=lambda play: play.name)
def test_every_play_has_bounds_of_its_own(play):
    bounds = {bound.figure: bound for bound in play.bounds}
    assert len(bounds) == len(play.bounds)
    assert bounds["completed_per_second"].at_least > 0
    assert 0 < bounds["failures_share"].at_most < 1
    assert bounds["p50_seconds"].at_most < bounds["p99_seconds"].at_most
    for figure in ("lag_records", "engine_memory_mebibytes", "gateway_memory_mebibytes"):
        assert bounds[figure].at_most > 0
    # None ends a fault that keeps what is judged after it.
    assert bounds["completed_per_second"].for_seconds <= play.silence_seconds_max
    assert bounds["failures_share"].for_seconds <= play.silence_seconds_max
    shown = CliRunner().invoke(backbeat, ["drill", "show", play.name]).output
    assert all(f"bound: {bound}\n" in shown for bound in play.bounds)
    assert f"at most {play.silence_seconds_max:g} s" in shown
    assert f"at most {play.recovery_seconds_max:g} s" in shown


def test_a_soak_draws_from_all_plays_beside_its_load_by_its_seed():
    def names(seed, count):
        return [play.name for play in itertools.islice(draw(PLAYBOOK, random.Random(seed)), count)]

    allowed = [play.name for play in PLAYBOOK if is_drawn(play)]
    missing = {play.name for play in PLAYBOOK} - set(allowed)
    assert missing == {"brokers-away-long", "rolling-upgrade", "overload", "client-floods"}
    roles = {play.targets.partition(":")[0] for play in PLAYBOOK if play.name in allowed}
    assert roles >= {"engine", "worker", "gateway", "broker", "leader", "coordinator", "proxy", "broker-3", "engine-2"}
    # Each once, then all again in another order; the same of the same seed.
    drawn = names(7, 2 * len(allowed))
    assert sorted(drawn[: len(allowed)]) == sorted(drawn[len(allowed) :]) == sorted(allowed)
    assert drawn[: len(allowed)] != drawn[len(allowed) :]
    assert names(7, 50) == names(7, 50) != names(8, 50)
    assert list(until_over(PLAYBOOK, 0)) == []
    assert list(until_over(PLAYBOOK, 600)) == list(PLAYBOOK)
    assert list(draw([play for play in PLAYBOOK if not is_drawn(play)], random.Random(1))) == []


def test_what_grows_over_a_soak_is_told(tmp_path):
    (tmp_path / "store").write_bytes(b"x" * 1000)
    footprint = Footprint(
        [
            Service(name="engine-1", role="engine", data_dir=str(tmp_path), pid_command=("echo", str(os.getpid()))),
            Service(name="broker-1", role="broker", data_dir=str(tmp_path)),
        ]
    )
    for _ in range(10):
        footprint.take()
    fifths = footprint.fifths()
    assert fifths["engine-1 bytes of disk"] == [1000.0] * 5
    assert set(fifths) == {"engine-1 bytes of disk", "engine bytes of memory", "engine handles", "engine threads"}
    assert grown(fifths) == []
    fifths["engine handles"] = [90.0, 100.0, 100.0, 120.0, 126.0]
    fifths["engine threads"] = [4.0, 4.0, 5.0, 6.0, 15.0]
    assert grown(fifths) == ["engine handles grew from 100 to 126"]
    run = a_run("soak", 1.0)
    run.setup |= {"seed": 7, "soak_seconds": 60.0}
    run.footprint = fifths
    text = "\n".join(text_lines(run))
    assert "  seed 7: --seed repeats" in text
    assert "60 s of soak" in text
    assert "  engine handles: 90, 100, 100, 120, 126" in text
    assert "seed 7" in render(run, "html")


def test_bounds_of_every_play_count_where_it_has_none_of_its_own(tmp_path):
    path = tmp_path / "plays.toml"
    path.write_text(OWN.replace('figure = "oldest_open_seconds", at_most = 30', 'figure = "lag_records", at_most = 7'))
    guarded = all_plays([path])[-1].guarded
    assert [bound.at_most for bound in guarded if bound.figure == "lag_records"] == [7]
    assert {bound.figure for bound in guarded} == {"lag_records", "engine_memory_mebibytes", "gateway_memory_mebibytes"}
    shown = CliRunner().invoke(backbeat, ["drill", "show", "cache-gone", "--playbook", str(path), "--json"])
    assert [bound["figure"] for bound in json.loads(shown.output)["bounds"]] == [bound.figure for bound in guarded]


def test_plays_of_a_file_and_by_number(tmp_path):
    path = tmp_path / "plays.toml"
    path.write_text(OWN)
    plays = all_plays([path])
    assert plays[-1].name == "cache-gone"
    assert plays[-1].bounds[0].at_most == 30
    assert [play.name for play in choose(plays, ["cache-gone", "6"])] == ["cache-gone", "brokers-away"]
    assert [play.name for play in choose(plays, ["brokers-away-long"])] == ["brokers-away-long"]
    with pytest.raises(PlaybookError, match="backbeat drill list"):
        choose(plays, ["0"])
    path.write_text(OWN.replace("cache-gone", "poison"))
    with pytest.raises(PlaybookError, match="more than one play 'poison'"):
        all_plays([path])
    path.write_text(OWN.replace("seconds = 5", 'seconds = "long"'))
    with pytest.raises(PlaybookError, match=r"is no playbook: .*seconds"):
        all_plays([path])


@pytest.mark.parametrize(("bound", "message"), [
    ('figure = "oldest_open_second", at_most = 30', "no figure.*oldest_open_seconds"),
    ('figure = "oldest_open_seconds"', "without a value"),
])  # fmt: skip
def test_a_bound_that_nothing_could_be_beyond_is_refused(tmp_path, bound, message):
    path = tmp_path / "plays.toml"
    path.write_text(OWN.replace('figure = "oldest_open_seconds", at_most = 30', bound))
    with pytest.raises(PlaybookError, match=f"'cache-gone' .*{message}"):
        all_plays([path])


def test_a_bound_of_a_role_without_metrics_is_not_played(tmp_path):
    path = tmp_path / "plays.toml"
    path.write_text(OWN.replace("oldest_open_seconds", "caches_answering"))
    play = all_plays([path])[-1]
    shop, cache = (Service(name=name, role=name) for name in ("shop", "cache"))
    with pytest.raises(TopologyError, match="no service of a role 'cache' has metrics"):
        choose_targets(play, Topology([shop, cache]), random.Random(1))
    told = msgspec.structs.replace(cache, metrics_url="http://127.0.0.1:1/metrics")
    assert choose_targets(play, Topology([shop, told]), random.Random(1)) == [shop]


def a_run(name, recovery, *, workers=2, passed=True):
    result = PlayResult(
        play=PLAYBOOK[0],
        targets=["engine-1", "<b>"],
        seconds=3.0,
        ended_by="its time",
        reason="it lasted 3 s, as agreed",
        recovery_seconds=recovery,
        ways={"sdk": WayFigures(asked=10, taken=10, paid=10, longest_silence_seconds=1.5, taken_p99_ms=70.0)},
        capsule=CapsuleState(id="o", fault="kill", targets=["engine-1"], host="here", phase="ended", left=[]),
        failed=[] if passed else ["not all was paid within 120 s of its end"],
    )
    samples = [
        {TIME: 10.0 + at, "completed_per_second": 8.0 - at, "open_payments": float(at), "p99_seconds": 0.1 * at}
        for at in range(9)
    ]
    add_figures(result, samples, 13.0, 16.0)
    return RunResult(
        id=name,
        began_at=1_790_000_000.0,
        ended_at=1_790_000_060.0,
        setup={"engines": 2, "workers": workers},
        plays=[result, PlayResult(play=PLAYBOOK[1], skipped="no engine hangs here")],
        totals=Totals(asked=10, taken=10, completed=10),
        words=[Words(service="engine-1", starts=2, ends={"signal SIGKILL": 1}, warnings=1, lines=["1 times: x"])],
        verdict_lines=["The changelog is what the rules make of the commands."],
    )


@pytest.fixture
def folder(tmp_path):
    for name, recovery, workers, passed in (("first", 4.0, 2, True), ("second", 9.0, 4, False)):
        path = tmp_path / name
        path.mkdir()
        write_result(path, a_run(name, recovery, workers=workers, passed=passed))
    return tmp_path


def test_figures_before_during_and_after(folder):
    play = read_result(folder / "first").plays[0]
    assert play.medians["completed_per_second"] == [7.0, 4.0, 1.0]
    assert (play.worst["completed_per_second"], play.worst["open_payments"]) == (3.0, 5.0)
    assert play.times[0] == -3.0


def report(folder, *words):
    shown = CliRunner().invoke(backbeat, ["drill", "report", "--folder", str(folder), *words])
    assert shown.exit_code == 0, shown.output
    return shown.output


def test_a_report_is_text_json_and_a_page_of_its_own(folder):
    text = report(folder, "first")
    assert "✓ 1 engine-killed" in text
    assert "PASSED: 1 of 1 plays kept their bounds; 1 could not be played here" in text
    assert "FAILED: 0 of 1" in report(folder)
    assert '"id":"second"' in report(folder, "--format", "json")
    shown = report(folder, "first", "--format", "html")
    assert shown.count("<polyline") == 3
    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown
    assert not re.findall(r'(?:src|href)="(?!#)', shown)


def test_two_runs_are_compared(folder):
    lines = report(folder, "--compare", "first", "second").splitlines()
    assert re.fullmatch(r" +workers +2 +4 +setup", lines[1])
    assert any(re.match(r"engine-killed +outcome +passed +failed +worse$", line) for line in lines)
    assert any(re.match(r"engine-killed +recovery_seconds +4 +9 +worse \(\+125 %\)$", line) for line in lines)
    assert any(line.endswith("=") for line in lines)


def test_runs_have_names_of_their_own(tmp_path):
    paths = [new_run(tmp_path) for _ in range(3)]
    assert list_runs(tmp_path) == sorted(paths)
    missing = CliRunner().invoke(backbeat, ["drill", "report", "--folder", str(tmp_path), "other"])
    assert missing.exit_code == 1
    assert "there is no run other" in missing.output
    unfinished = CliRunner().invoke(backbeat, ["drill", "report", "--folder", str(tmp_path)])
    assert "has no result" in unfinished.output


def test_the_plays_are_listed():
    shown = CliRunner().invoke(backbeat, ["drill", "list"])
    assert [line.split()[1] for line in shown.output.splitlines()] == [play.name for play in PLAYBOOK]


@pytest.mark.parametrize(("before", "during", "is_kept"), [
    (0.1, 1.9, True),
    (0.1, 2.1, False),
    (3.0, 5.9, True),
    (3.0, 6.1, False),
])  # fmt: skip
def test_a_play_bounds_how_many_times_as_long_as_before_payments_take(before, during, is_kept):
    (play,) = choose(list(PLAYBOOK), ["17"])
    result = PlayResult(play=play, ended_by="its time", recovery_seconds=1.0)
    result.medians["p50_seconds"] = [before, during, 0.0]
    Tower._judge(result)
    assert result.passed == is_kept
    if not is_kept:
        assert result.failed == [f"payments took {during:g} s, and {before:g} s before: more than 2 times as long"]
