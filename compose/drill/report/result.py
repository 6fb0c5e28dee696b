"""Results: what a run was made of, and what came of each of its plays."""

from __future__ import annotations

from typing import Any

import msgspec

from backbeat.compose.drill.capsule.state import CapsuleState
from backbeat.compose.drill.load.account import Totals, WayFigures
from backbeat.compose.drill.plays.play import Play
from backbeat.compose.drill.watch.bounds import BoundOutcome

#: Curves of a report, and their units.
CURVES = {
    "completed_per_second": "payments/s",
    "p50_seconds": "s",
    "p99_seconds": "s",
    "open_payments": "payments",
    "lag_records": "records",
    "failures_per_second": "/s",
    "engine_memory_mebibytes": "MiB",
    "engines_answering": "processes",
}


class PlayResult(msgspec.Struct, kw_only=True):
    """Result of a play."""

    play: Play
    targets: list[str] = []
    #: wall clock of the fault's beginning, in seconds since the epoch
    began_at: float = 0.0
    #: how long the fault lasted
    seconds: float = 0.0
    capsule: CapsuleState | None = None
    #: who ended the fault, and why
    ended_by: str = ""
    reason: str = ""
    anomaly: str = ""
    #: seconds from the sample beyond a bound to the end of the fault
    anomaly_seconds: float | None = None
    #: bounds that were not kept before the fault began, and did not count
    ignored: list[str] = []
    #: bounds that counted, and whether each was kept
    bounds: list[BoundOutcome] = []
    #: None: not everything was paid in time
    recovery_seconds: float | None = None
    ways: dict[str, WayFigures] = {}
    failures: dict[str, int] = {}
    #: figure -> its median before, during and after
    medians: dict[str, list[float]] = {}
    #: figure -> its worst while the fault lasted
    worst: dict[str, float] = {}
    #: seconds from the fault's beginning, and figure -> the values at these times
    times: list[float] = []
    curves: dict[str, list[float | None]] = {}
    #: checks that did not hold, a line each
    failed: list[str] = []
    #: why it was not played; empty: it was
    skipped: str = ""

    @property
    def passed(self) -> bool:
        """True where all checks hold."""
        return not self.failed and not self.skipped


class PromiseResult(msgspec.Struct, kw_only=True):
    """Result of an attack of the security drill: whether the promise was kept, and by what that was seen."""

    #: row of SECURITY.md's table
    area: str
    attack: str
    promise: str
    is_kept: bool
    evidence: str


class Words(msgspec.Struct, kw_only=True):
    """Words of a process during the run."""

    service: str
    starts: int = 0
    #: reasons of its ends, and how often
    ends: dict[str, int] = {}
    warnings: int = 0
    #: the most frequent warnings and errors, without their times
    lines: list[str] = []
    #: why it is not known what it said; empty: it is
    unknown: str = ""


class RunResult(msgspec.Struct, kw_only=True):
    """A run."""

    id: str
    #: seconds since the epoch
    began_at: float
    ended_at: float = 0.0
    version: str = ""
    #: numbers of services by role, and other settings
    setup: dict[str, Any] = {}
    command: str = ""
    services: list[dict[str, str]] = []
    plays: list[PlayResult] = []
    #: of the security drill
    promises: list[PromiseResult] = []
    totals: Totals = msgspec.field(default_factory=Totals)
    words: list[Words] = []
    #: the verdict of `backbeat verify`, as its JSON; and its lines
    verdict: dict[str, Any] | None = None
    verdict_lines: list[str] = []
    #: of a soak: what it uses -> its median in each fifth of the time
    footprint: dict[str, list[float]] = {}
    #: checks over the whole run that did not hold
    failed: list[str] = []
    aborted: str = ""

    @property
    def passed(self) -> bool:
        """True where the run as a whole, and every play that was played kept its bounds, and every promise was kept."""
        is_kept = all(play.passed or play.skipped for play in self.plays) and all(
            each.is_kept for each in self.promises
        )
        return not self.failed and not self.aborted and is_kept
