"""Timers of a partition beside a plain list of them, where more are due than are read at once."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.state import timers as module
from backbeat.streams.state.timers import HORIZON_MS, READ_MAX, SENT_MAX, TimerKey, Timers

_READ_MAX = 5
_SENT_MAX = 3
_STEPS = 400


class Stored:
    """The timers that are stored."""

    def __init__(self, timers: dict[TimerKey, int] | None = None) -> None:
        self.timers = timers or {}
        #: Bound of a scan that the last commit wrote.
        self.low_water = 0
        self.reads = 0

    def scan(self, begin: int, until: int) -> Iterator[tuple[TimerKey, int]]:
        for key in sorted(self.timers):
            if max(begin, self.low_water) <= key[0] < until:
                self.reads += 1
                yield key, self.timers[key]


class Partition:
    """An engine's use of its timers, and the plain list."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now = 1_000_000
        self.numbers = 0
        self.stored = Stored()
        self.timers = Timers(self.stored.scan, read_max=_READ_MAX)
        #: All that stand, those of them that were sent, and those of the last commit.
        self.standing: dict[TimerKey, int] = {}
        self.sent: set[TimerKey] = set()
        self.committed: dict[TimerKey, int] = {}
        self._in_flight: tuple[list[tuple[TimerKey, int | None]], int, dict[TimerKey, int]] | None = None

    @property
    def due(self) -> list[TimerKey]:
        """Those to be sent, earliest first."""
        return sorted(key for key in self.standing.keys() - self.sent if key[0] <= self.now)

    def set(self) -> None:
        self.numbers += 1
        # Many of the same millisecond, some in the past.
        due = self.now + self.chance.choice((-20_000, -1, 0, 1, 2, 3, 1_000, 29_999, 30_000, 50_000, 70_000, 200_000))
        key = (
            due,
            self.chance.choice((b"a", b"b", b"c", b"d")) * 16,
            self.chance.choice((TimerKind.START, TimerKind.RETRY)),
        )
        if key in self.standing:
            self.clear(key)
        self.timers.set(*key, self.numbers)
        self.standing[key] = self.numbers

    def clear(self, key: TimerKey) -> None:
        self.timers.clear(*key)
        del self.standing[key]
        self.sent.discard(key)

    def fire(self) -> None:
        expected = self.due[: max(0, _SENT_MAX - len(self.sent))]
        if not self.timers.any_due(self.now):
            assert expected == []
        fired = [(timer.subject_id, timer.kind, timer.number) for timer in self.timers.due(self.now)]
        assert fired == [(*key[1:], self.standing[key]) for key in expected]
        self.sent.update(expected)

    def look(self) -> None:
        overdue = [key for key in self.standing if key[0] <= self.now]
        count, oldest = self.timers.overdue(self.now)
        assert oldest == min((key[0] for key in overdue), default=None)
        assert count <= len(overdue)
        assert count == len(overdue) or count >= _SENT_MAX
        armed = self.standing.keys() - self.sent
        assert self.timers.waiting_soon == len([key for key in armed if key[0] < self.timers._armed_until])
        if self.timers.low_water():
            assert self.timers.low_water() <= min((key[0] for key in self.standing), default=self.now + HORIZON_MS)

    def commit(self) -> None:
        """The next step of a commit."""
        if self._in_flight is None:
            self._in_flight = list(self.timers.snapshot()), self.timers.low_water(), dict(self.standing)
            return
        changes, low_water, committed = self._in_flight
        if committed is not self.committed:
            for key, number in changes:
                if number is None:
                    self.stored.timers.pop(key, None)
                else:
                    self.stored.timers[key] = number
            self.stored.low_water, self.committed = low_water, committed
            assert self.stored.timers == committed
            return
        self.timers.mark_durable()
        self._in_flight = None

    def start_again(self) -> None:
        """The process begins again from what was committed; what came behind comes again."""
        self.timers = Timers(self.stored.scan, read_max=_READ_MAX)
        self.standing, self.sent, self._in_flight = dict(self.committed), set(), None


@pytest.mark.parametrize("seed", range(40))
def test_every_timer_fires_in_order_however_many_are_due(seed, monkeypatch):
    monkeypatch.setattr(module, "SENT_MAX", _SENT_MAX)
    chance = random.Random(seed)
    partition = Partition(chance)
    for _ in range(_STEPS):
        step = chance.random()
        if step < 0.5:
            partition.set()
        elif step < 0.6 and partition.standing:
            partition.clear(chance.choice(sorted(partition.standing)))
        elif step < 0.75 and partition.sent:
            partition.clear(min(partition.sent))
        elif step < 0.85:
            partition.commit()
        elif step < 0.86:
            partition.start_again()
        elif step < 0.93:
            partition.now += chance.choice((1, 1_000, 40_000))
        partition.fire()
        partition.look()
    partition.now += 10**9
    while partition.standing:
        partition.fire()
        partition.look()
        assert partition.sent
        for key in sorted(partition.sent):
            partition.clear(key)


def test_a_million_that_are_due_at_once_are_read_in_parts():
    count = 3 * READ_MAX
    stored = Stored(
        {(1_000 + number // 2, number.to_bytes(16, "big"), TimerKind.START): number for number in range(count)}
    )
    timers = Timers(stored.scan)
    expected = sorted(stored.timers)
    fired: list[int] = []
    while len(fired) < count:
        reads = stored.reads
        keys = expected[len(fired) : len(fired) + SENT_MAX]
        assert timers.any_due(10**6)
        fired += [timer.number for timer in timers.due(10**6)]
        assert stored.reads - reads <= READ_MAX + 1
        assert timers.waiting_soon <= 2 * READ_MAX
        assert timers.overdue(10**6)[1] == keys[0][0]
        for key in keys:
            timers.clear(*key)
    assert fired == [key_number for _, key_number in sorted(stored.timers.items())]
    assert timers.overdue(10**6) == (0, None)


def test_those_of_one_millisecond_are_read_together():
    count = READ_MAX + 1_000
    stored = Stored({(1_000, number.to_bytes(16, "big"), TimerKind.START): number for number in range(count)})
    stored.timers[1_001, bytes(16), TimerKind.START] = count
    timers = Timers(stored.scan)
    expected = sorted(stored.timers)
    fired = len(list(timers.due(2_000)))
    assert timers.overdue(2_000) == (count, 1_000)
    while fired <= count:
        for key in expected[max(0, fired - SENT_MAX) : fired]:
            timers.clear(*key)
        # The last of them is read once fewer wait.
        assert timers.any_due(2_000)
        fired += len(list(timers.due(2_000)))
    timers.clear(*expected[-1])
    assert fired == count + 1
    assert timers.low_water() > 2_000
