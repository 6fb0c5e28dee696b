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
        said = []
        part = ChildProcess(
            "engine-1",
            [sys.executable, str(STAND_IN), behaviour],
            log_path=tmp_path / "engine-1.log",
            pid_path=tmp_path / "engine-1.pid",
        )
        one = Supervisor(part, "backbeat engine ready", said.append)
        made.append(one)
        return one, said

    yield make
    for one in made:
        one.process.kill()


def tend_until_ready(one: Supervisor) -> None:
    while not one.ready:
        assert one.check() is None


def test_is_ready_when_it_says_so(make, clock):
    one, said = make("runs")

    tend_until_ready(one)

    assert one.process.running
    assert said == []


def test_death_is_told_with_its_reason_and_mended_after_a_pause(make, clock):
    one, said = make("runs")
    tend_until_ready(one)
    one.process.kill()

    assert one.check() is None
    assert not one.ready
    assert said == ["engine-1 died (signal SIGKILL); starting it again in 0.1 s."]
    one.check()
    assert not one.process.running, "the pause is not over"
    clock.now += 0.1
    tend_until_ready(one)

    assert one.process.running


def test_pauses_grow_and_the_fifth_death_within_a_minute_is_the_last(make, clock):
    one, said = make("dies")
    reason = None
    for _ in range(5):
        one.check()
        assert one.process.wait(120)
        reason = one.check()
        clock.now += 5

    assert [line.rpartition(" in ")[2] for line in said] == ["0.1 s.", "0.2 s.", "0.4 s.", "0.8 s."]
    assert "engine-1 died (exit code 3), for the 5th time within 60 s; its last lines" in reason
    assert reason.endswith("    the disk is full")


def test_deaths_far_apart_are_borne_for_ever(make, clock):
    one, said = make("dies")
    for _ in range(12):
        one.check()
        assert one.process.wait(120)
        assert one.check() is None
        clock.now += 16

    assert len(said) == 12


def test_death_that_was_asked_for_is_not_counted(make, clock):
    one, said = make("runs")
    for _ in range(7):
        tend_until_ready(one)
        one.kill()
        assert not one.ready
        assert one.check() is None

    assert said == []


def test_one_killed_while_it_was_dead_is_ready_after_its_next_start(make, clock):
    one, said = make("runs")
    tend_until_ready(one)
    one.process.kill()
    one.kill()

    assert one.check() is None
    clock.now += 0.1
    tend_until_ready(one)
    assert len(said) == 1, "that death was none of those asked for"


def test_deaths_before_a_start_by_hand_are_not_counted(make, clock):
    one, said = make("dies")
    for _ in range(supervisor.DEATHS_MAX + 1):
        one.start()
        one.check()
        assert one.process.wait(120)
        assert one.check() is None

    assert all(line.endswith(" in 0.1 s.") for line in said)


def test_one_that_is_not_wanted_stays_stopped(make, clock):
    one, said = make("runs")
    tend_until_ready(one)
    one.stop()

    one.check()
    one.check()
    assert not one.process.running
    one.start()
    tend_until_ready(one)

    assert one.process.running
    assert said == []
