"""A part that dies is started again, with growing pauses, five times a minute at most."""

import sys
from pathlib import Path

import pytest

from backbeat.compose.local import supervisor
from backbeat.compose.local.child_process import ChildProcess
from backbeat.compose.local.supervisor import Supervisor

STAND_IN = Path(__file__).with_name("stand_in.py")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(supervisor, "time", clock)
    return clock


@pytest.fixture
def make(tmp_path):
    made = []

    def make(behaviour: str) -> tuple[Supervisor, list[str]]:
        lines = []
        part = ChildProcess(
            "engine-1",
            [sys.executable, str(STAND_IN), behaviour],
            log_path=tmp_path / "engine-1.log",
            pid_path=tmp_path / "engine-1.pid",
        )
        supervised = Supervisor(part, "backbeat engine ready", lines.append)
        made.append(supervised)
        return supervised, lines

    yield make
    for supervised in made:
        supervised.process.kill()


def tend_until_ready(supervised: Supervisor) -> None:
    while not supervised.ready:
        assert supervised.check() is None


def test_is_ready_when_it_says_so(make, clock):
    supervised, lines = make("runs")

    tend_until_ready(supervised)

    assert supervised.process.running
    assert lines == []


def test_death_is_told_with_its_reason_and_mended_after_a_pause(make, clock):
    supervised, lines = make("runs")
    tend_until_ready(supervised)
    supervised.process.kill()

    assert supervised.check() is None
    assert not supervised.ready
    assert lines == ["engine-1 died (signal SIGKILL); starting it again in 0.1 s."]
    supervised.check()
    assert not supervised.process.running, "the pause is not over"
    clock.now += 0.1
    tend_until_ready(supervised)

    assert supervised.process.running


def test_pauses_grow_and_the_fifth_death_within_a_minute_is_the_last(make, clock):
    supervised, lines = make("dies")
    reason = None
    for _ in range(5):
        supervised.check()
        assert supervised.process.wait(120)
        reason = supervised.check()
        clock.now += 5

    assert [line.rpartition(" in ")[2] for line in lines] == ["0.1 s.", "0.2 s.", "0.4 s.", "0.8 s."]
    assert "engine-1 died (exit code 3), for the 5th time within 60 s; its last lines" in reason
    assert reason.endswith("    the disk is full")


def test_deaths_far_apart_are_borne_for_ever(make, clock):
    supervised, lines = make("dies")
    for _ in range(12):
        supervised.check()
        assert supervised.process.wait(120)
        assert supervised.check() is None
        clock.now += 16

    assert len(lines) == 12


def test_death_that_was_asked_for_is_not_counted(make, clock):
    supervised, lines = make("runs")
    for _ in range(7):
        tend_until_ready(supervised)
        supervised.kill()
        assert not supervised.ready
        assert supervised.check() is None

    assert lines == []


def test_one_killed_while_it_was_dead_is_ready_after_its_next_start(make, clock):
    supervised, lines = make("runs")
    tend_until_ready(supervised)
    supervised.process.kill()
    supervised.kill()

    assert supervised.check() is None
    clock.now += 0.1
    tend_until_ready(supervised)
    assert len(lines) == 1, "that death was none of those asked for"


def test_deaths_before_a_start_by_hand_are_not_counted(make, clock):
    supervised, lines = make("dies")
    for _ in range(supervisor.DEATHS_MAX + 1):
        supervised.start()
        supervised.check()
        assert supervised.process.wait(120)
        assert supervised.check() is None

    assert all(line.endswith(" in 0.1 s.") for line in lines)


def test_one_that_is_not_wanted_stays_stopped(make, clock):
    supervised, lines = make("runs")
    tend_until_ready(supervised)
    supervised.stop()

    supervised.check()
    supervised.check()
    assert not supervised.process.running
    supervised.start()
    tend_until_ready(supervised)

    assert supervised.process.running
    assert lines == []
