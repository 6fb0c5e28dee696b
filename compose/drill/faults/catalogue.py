"""Faults by name; a user's own by `module:Class`."""

from __future__ import annotations

import importlib
import random
from collections.abc import Sequence

from backbeat.compose.drill.faults.at_work import KillAtWork
from backbeat.compose.drill.faults.disk import DirectoryLost, DiskFull, StoreDamage
from backbeat.compose.drill.faults.fault import Arguments, Fault, FaultError, MakeFault
from backbeat.compose.drill.faults.flood import Flood
from backbeat.compose.drill.faults.knob import Knob
from backbeat.compose.drill.faults.memory import MemorySqueeze
from backbeat.compose.drill.faults.poison import Poison
from backbeat.compose.drill.faults.processes import Away, Come, Hang, Kill, Rolling, Throttle
from backbeat.compose.drill.faults.script import Script
from backbeat.compose.drill.faults.shape import Shape
from backbeat.compose.drill.faults.upgrade import Upgrade
from backbeat.compose.drill.topology.service import Service

FAULTS: dict[str, MakeFault] = {
    "away": Away,
    "come": Come,
    "directory-lost": DirectoryLost,
    "disk-full": DiskFull,
    "flood": Flood,
    "hang": Hang,
    "kill": Kill,
    "kill-at-work": KillAtWork,
    "knob": Knob,
    "memory": MemorySqueeze,
    "poison": Poison,
    "rolling": Rolling,
    "script": Script,
    "shape": Shape,
    "store-damage": StoreDamage,
    "throttle": Throttle,
    "upgrade": Upgrade,
}


def make_fault(name: str, arguments: Arguments, targets: Sequence[Service], chance: random.Random) -> Fault:
    """The fault of this name. FaultError: there is none."""
    make = FAULTS.get(name) or _imported(name)
    return make(arguments, targets, chance)


def _imported(name: str) -> MakeFault:
    module, _, attribute = name.partition(":")
    if not attribute:
        raise FaultError(f"there is no fault {name!r}: {', '.join(FAULTS)}, or module:Class")
    try:
        make: MakeFault = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise FaultError(f"the fault {name!r} cannot be imported: {error}") from error
    return make
