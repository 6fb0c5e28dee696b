"""Play: a fault, its targets, how long it lasts, and the bounds that the installation must keep."""

from __future__ import annotations

from typing import Any

import msgspec

from backbeat.compose.drill.watch.bounds import Bound

#: Bounds of every play that has none of its own of these figures: beyond them it is no drill any more.
SAFE = (
    Bound(figure="engine_memory_mebibytes", at_most=2_000),
    Bound(figure="gateway_memory_mebibytes", at_most=2_000),
    Bound(figure="lag_records", at_most=200_000),
)


class Play(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A play of a playbook."""

    name: str
    summary: str
    #: its place in the playbook; 0: one of a user's
    number: int = 0
    fault: str
    #: role, share and host (`engine:1/3@one-host`, `engine:all@app-1`), a name, `leader:TOPIC` or
    #: `coordinator:GROUP`; several apart by commas, in the order in which their turn comes
    targets: str
    arguments: dict[str, Any] = {}
    #: how long the fault lasts
    seconds: float = 20.0
    #: beyond one of these the fault is ended at once
    bounds: tuple[Bound, ...] = ()
    #: longest that callers of any way in may wait for their turn
    silence_seconds_max: float = 60.0
    #: longest time from the end of the fault until all that was asked for before is paid
    recovery_seconds_max: float = 120.0
    #: median time from asking for a payment to its end, as a multiple of that before the fault; 0: any
    latency_times_max: float = 0.0
    #: median that is short enough whatever the multiple: a flood takes the processor time of a small machine, too
    latency_seconds_free: float = 2.0
    #: why it is not part of `certify` unless it is named; empty: it is
    on_request: str = ""

    @property
    def guarded(self) -> tuple[Bound, ...]:
        """Its own bounds, and those of every play."""
        own = {bound.figure for bound in self.bounds}
        return (*self.bounds, *(bound for bound in SAFE if bound.figure not in own))

    @property
    def title(self) -> str:
        """Number and name."""
        return f"{self.number} {self.name}" if self.number else self.name
