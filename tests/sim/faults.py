"""What goes wrong in a run: a mix of its own for every seed, so that each kind of fault also comes alone (swarm)."""

from __future__ import annotations

import random

#: Where a process can die: every point at which the engine's blocking parts hand over control, and every effect.
CRASH_POINTS = (
    "effect",
    "before flush",
    "flush",
    "after flush",
    "before transaction",
    "before offsets",
    "after offsets",
    "records",
    "before end",
    "after end",
    "before write",
    "after write",
    "restore",
    "loop",
)
#: The other faults, and how likely each is where it can happen, at most.
OTHERS = {
    "stop": 0.15,  #: a process is stopped and wakes up later, perhaps without its partitions
    "rebalance": 0.1,
    "clock jump": 0.1,
    "host clock jump": 0.1,
    "compaction": 0.15,
    "long sleep": 0.04,  #: everybody is down for a day
    "store lost": 0.3,
    "store stale": 0.9,
    "repeat": 0.15,  #: a client's record is written twice
    "gap": 0.35,  #: a marker takes an offset of the commands
    "garbage": 0.1,
    "seek back": 0.4,  #: a consumer begins before the committed position
    "late batch": 0.4,  #: what a consumer read for an earlier assignment is delivered in the next
    "send fails": 0.005,
    "queue full": 0.05,  #: a producer's queue has no room, or for a part of a batch
    "slow command": 0.02,  #: it takes longer than a slice may
    "request times out": 0.15,
    "lag": 0.5,  #: the coordinators take their time
    "store killed": 0.9,  #: a crash takes what RocksDB has not written out yet
    "store damaged": 0.003,  #: found when a record is read
    "store damaged, seen by a commit": 0.1,
    "late markers": 0.98,  #: a transaction's end is seen long after its commit was answered
}
_CRASH_MAX = {"effect": 0.02, "loop": 0.01, "flush": 0.1, "restore": 0.1}
_CRASH_MAX_DEFAULT = 0.4


class Faults:
    """How likely each fault is in this run."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.rates: dict[str, float] = {}
        for point in CRASH_POINTS:
            self.rates[f"crash: {point}"] = self._draw(_CRASH_MAX.get(point, _CRASH_MAX_DEFAULT), 0.3)
        for name, most in OTHERS.items():
            self.rates[name] = self._draw(most, 0.5)
        self.happened: dict[str, int] = {}

    def _draw(self, most: float, likely: float) -> float:
        return most * self._chance.uniform(0.1, 1.0) if self._chance.random() < likely else 0.0

    def happens(self, name: str) -> bool:
        """Whether it happens now."""
        rate = self.rates.get(name, 0.0)
        if rate == 0.0 or self._chance.random() >= rate:
            return False
        self.happened[name] = self.happened.get(name, 0) + 1
        return True

    def stop(self) -> None:
        """From now on nothing goes wrong."""
        self.rates = {}
