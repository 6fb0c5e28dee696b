"""Faults: what a capsule injects, and takes back.

A fault is an object with `inject`, `act`, `abort` and `check`. It is made from its order alone, so that another process
can take back what one that died had injected: `abort` relies on nothing that `inject` remembered, and may come twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from backbeat.compose.drill.topology.service import Service

Arguments = Mapping[str, Any]


class FaultError(Exception):
    """A fault cannot be injected here; the text says why."""


class Fault:
    """Base of all faults."""

    def __init__(self, arguments: Arguments, targets: Sequence[Service], chance: random.Random) -> None:
        self.arguments = arguments
        self.targets = targets
        self.chance = chance
        #: lines about what it did, for the report
        self.notes: list[str] = []

    def inject(self) -> None:
        """Begin. FaultError: it cannot be injected here, and nothing was changed."""

    def act(self) -> None:
        """Go on: called 20 times a second while it lasts."""

    def abort(self) -> None:
        """Take back whatever was injected, by this process or by another before it."""

    def check(self) -> list[str]:
        """Whatever is left of it, a line each; empty: nothing is."""
        return []

    def for_each(self, action: Callable[[Service], None]) -> None:
        """Do something to each target, to the others where it fails for one. FaultError: for which it failed."""
        failures = []
        for target in self.targets:
            try:
                action(target)
            except Exception as error:  # noqa: BLE001 - whatever it was: the others are not left as they are
                failures.append(f"{target.name}: {error}")
        if failures:
            raise FaultError("; ".join(failures))

    def note(self, text: str) -> None:
        """Note an action for the report."""
        self.notes.append(text)


MakeFault = Callable[[Arguments, Sequence[Service], random.Random], Fault]
