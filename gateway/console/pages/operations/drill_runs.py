"""Runs of drills, read from the folder in which `backbeat drill` keeps them: the files alone are what both know."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

_RESULT = "result.json"
_NAME = re.compile(r"[0-9]{8}-[0-9]{6}(-[0-9]{1,3})?")
_BYTES_MAX = 32 * 1024 * 1024


class DrillsError(Exception):
    """A run cannot be read; the text says why."""


class Play(msgspec.Struct, kw_only=True):
    """A play, as far as pages show it."""

    name: str = "?"
    summary: str = ""
    fault: str = ""


class PlayResult(msgspec.Struct, kw_only=True):
    """Result of a play."""

    play: Play
    targets: list[str] = []
    began_at: float = 0.0
    seconds: float = 0.0
    ended_by: str = ""
    reason: str = ""
    #: None: not everything was done in time.
    recovery_seconds: float | None = None
    worst: dict[str, float] = {}
    medians: dict[str, list[float]] = {}
    #: Seconds from the fault's beginning, and figure -> the values at these times.
    times: list[float] = []
    curves: dict[str, list[float | None]] = {}
    failed: list[str] = []
    skipped: str = ""

    @property
    def outcome(self) -> str:
        """`passed`, `failed` or `skipped`."""
        return "skipped" if self.skipped else "failed" if self.failed else "passed"


class Run(msgspec.Struct, kw_only=True):
    """Result of a run."""

    id: str
    began_at: float
    ended_at: float = 0.0
    version: str = ""
    setup: dict[str, Any] = {}
    command: str = ""
    plays: list[PlayResult] = []
    totals: dict[str, Any] = {}
    verdict_lines: list[str] = []
    failed: list[str] = []
    aborted: str = ""

    @property
    def passed(self) -> int:
        """Number of plays that kept their bounds."""
        return sum(play.outcome == "passed" for play in self.plays)

    @property
    def played(self) -> int:
        """Number of plays that were played."""
        return sum(play.outcome != "skipped" for play in self.plays)

    @property
    def is_whole(self) -> bool:
        """True where every play that was played, and the run as a whole, kept its bounds."""
        return not self.failed and not self.aborted and self.passed == self.played


def is_name(name: str) -> bool:
    """True for a name that a run can have: no other is looked for."""
    return _NAME.fullmatch(name) is not None


def list_names(folder: Path, count: int) -> list[str]:
    """Names of the newest runs, newest first. DrillsError."""
    try:
        names = [path.name for path in folder.iterdir() if is_name(path.name)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DrillsError(f"{folder} cannot be read: {error.strerror}") from error
    return sorted(names, reverse=True)[:count]


def read_run(folder: Path, name: str) -> Run | None:
    """The result of a run; None: it has none, since it goes on or was cut off. DrillsError."""
    path = folder / name / _RESULT
    try:
        if path.stat().st_size > _BYTES_MAX:
            raise DrillsError(f"{path} is larger than {_BYTES_MAX:,} bytes")
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise DrillsError(f"{path} cannot be read: {error}") from error
