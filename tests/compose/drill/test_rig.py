"""Load of a drill: how its beginning ends."""

from __future__ import annotations

import pytest

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.drill.abort import abort_run
from backbeat.compose.drill.load import rig as rigs
from backbeat.compose.drill.plays.play import Play
from backbeat.compose.drill.topology.keeper import Keeper
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Topology
from backbeat.compose.drill.tower import Tower
from backbeat.compose.drill.watch.direct import DirectSource
from backbeat.compose.drill.watch.scrape import Scrape
from backbeat.compose.drill.watch.watch import Watch


@pytest.fixture
def rig(tmp_path):
    """A load of which nothing is ever paid."""
    (tmp_path / "journal").mkdir()
    return rigs.Rig(
        tmp_path,
        Keeper(),
        bootstrap_servers="127.0.0.1:1",
        gateways=[],
        per_second=1,
        workers=1,
        partitions=1,
        plain=True,
    )


def test_a_run_that_waits_for_its_first_payments_is_aborted(rig, tmp_path, monkeypatch):
    monkeypatch.setattr(rigs, "_FIRST_SECONDS_MAX", 0.5)
    with pytest.raises(SetupError, match="no payment over sdk, topic was paid"):
        rig._wait_first()
    assert list(abort_run(tmp_path, "Ada")) == [f"Run {tmp_path.name}: nothing more is played."]
    rig._wait_first()


def test_a_keeper_that_has_ended_ends_the_wait(rig):
    rig._keeper.failure = "the keeper of the drill's processes ended: no more threads"
    with pytest.raises(SetupError, match="no more threads"):
        rig._wait_first()


def test_no_fault_begins_once_a_run_is_aborted(rig, tmp_path):
    """Aborted while it waits before a fault, for as long as six seconds."""
    mark = tmp_path / "mark"
    arguments = {"inject": ["touch", str(mark)]}
    play = Play(name="mark", summary="-", fault="script", targets="shop", seconds=5, arguments=arguments)
    watch = Watch(rig.account, Scrape([], DirectSource()))
    topology = Topology([Service(name="shop", role="shop")])
    tower = Tower(topology, rig, watch, tmp_path, per_second=1, seed=1, say=lambda _: None)
    list(abort_run(tmp_path, "Ada"))
    result = tower.play(play)
    watch.stop()
    assert result.skipped == "Ada has aborted the run"
    assert not mark.exists()
    assert not (tmp_path / "capsules").exists()
