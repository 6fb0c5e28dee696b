"""Runs of drills, read from the folder in which `backbeat drill` keeps them: the files alone are what both know."""

from __future__ import annotations

import fcntl
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from backbeat.schemas.requests.decoding import from_json

_RESULT = "result.json"
#: File whose lock the process of a run holds, and file of who began it here.
_LOCK, _REQUEST = "lock", "request.json"
#: File of what it prints, and how much of that is shown.
OUTPUT = "output"
_OUTPUT_BYTES = 2_000
_NAME = re.compile(r"[0-9]{8}-[0-9]{6}(-[0-9]{1,3})?")
_BYTES_MAX = 32 * 1024 * 1024
#: Seconds that can be told as a time, or as a length of time: a file may say whatever it likes.
Seconds = Annotated[float, Meta(ge=-1e11, le=1e11)]
Count = Annotated[int, Meta(ge=0, le=10**15)]


class DrillsError(Exception):
    """A run cannot be read; the text says why."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Request for a run that was begun from the console."""

    #: Of the form: sent twice it is one run.
    key: str
    actor: str
    reason: str
    plays: list[str]
    #: One of those that the gateway was told of.
    installation: str


class Play(msgspec.Struct, kw_only=True):
    """A play, as far as pages show it."""

    name: str = "?"
    summary: str = ""
    fault: str = ""


class PlayOutcome(msgspec.Struct, kw_only=True):
    """Outcome of a play."""

    failed: list[str] = []
    skipped: str = ""

    @property
    def outcome(self) -> str:
        """`passed`, `failed` or `skipped`."""
        return "skipped" if self.skipped else "failed" if self.failed else "passed"


class PlayResult(PlayOutcome, kw_only=True):
    """Result of a play."""

    play: Play
    targets: list[str] = []
    began_at: Seconds = 0.0
    seconds: Seconds = 0.0
    ended_by: str = ""
    reason: str = ""
    #: None: not everything was done in time.
    recovery_seconds: Seconds | None = None
    worst: dict[str, float] = {}
    medians: dict[str, list[float]] = {}
    #: Seconds from the fault's beginning, and figure -> the values at these times.
    times: list[Seconds] = []
    curves: dict[str, list[float | None]] = {}


class PromiseOutcome(msgspec.Struct, kw_only=True):
    """Outcome of an attack of the security drill."""

    is_kept: bool = False


class PromiseResult(PromiseOutcome, kw_only=True):
    """Result of an attack."""

    area: str = "?"
    attack: str = "?"
    promise: str = ""
    evidence: str = ""


class Totals(msgspec.Struct, kw_only=True):
    """Figures of a whole run."""

    asked: Count = 0
    taken: Count = 0
    completed: Count = 0
    lost: Count = 0
    paid_twice: Count = 0
    executed_again: Count = 0
    executions: Count = 0


class RunSummary(msgspec.Struct, kw_only=True):
    """Result of a run as lists show it: without what is large."""

    id: str
    began_at: Seconds
    ended_at: Seconds = 0.0
    version: str = ""
    plays: tuple[PlayOutcome, ...] = ()
    promises: tuple[PromiseOutcome, ...] = ()
    totals: Totals = msgspec.field(default_factory=Totals)
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
    def outcome(self) -> str:
        """Plays that kept their bounds, or attacks that were withstood, in words."""
        if self.promises:
            return f"{self._kept} of {len(self.promises)} attacks were withstood"
        return f"{self.passed} of {self.played} plays kept their bounds"

    @property
    def _kept(self) -> int:
        return sum(promise.is_kept for promise in self.promises)

    @property
    def is_whole(self) -> bool:
        """True where every play that was played, the run as a whole, and every promise was kept."""
        is_kept = self.passed == self.played and self._kept == len(self.promises)
        return not self.failed and not self.aborted and is_kept

    @property
    def has_ended(self) -> bool:
        """True once it has come to its end, or to its abort."""
        return self.ended_at > 0


class Run(RunSummary, kw_only=True):
    """Result of a run."""

    setup: dict[str, Any] = {}
    command: str = ""
    plays: tuple[PlayResult, ...] = ()
    promises: tuple[PromiseResult, ...] = ()
    verdict_lines: list[str] = []


RunT = TypeVar("RunT", bound=RunSummary)


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


def read_run(folder: Path, name: str, kind: type[RunT]) -> RunT | None:
    """The result of a run; None: it has none, since it goes on or was cut off. DrillsError."""
    path = folder / name / _RESULT
    try:
        if path.stat().st_size > _BYTES_MAX:
            raise DrillsError(f"{path} is larger than {_BYTES_MAX:,} bytes")
        return from_json(path.read_bytes(), kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, RecursionError) as error:
        raise DrillsError(f"{path} cannot be read: {error}") from error


def is_under_way(folder: Path, name: str) -> bool:
    """True while a process plays this run. DrillsError."""
    try:
        with (folder / name / _LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise DrillsError(f"{folder / name} cannot be read: {error.strerror}") from error
    return False


def last_output(folder: Path, name: str) -> str:
    """The end of what a run that was begun from the console has printed; empty: it has printed nothing."""
    try:
        return (folder / name / OUTPUT).read_bytes()[-_OUTPUT_BYTES:].decode(errors="replace").strip()
    except OSError:
        return ""


def write_request(folder: Path, name: str, request: Request) -> None:
    """Keep who has begun a run, in its folder."""
    (folder / name / _REQUEST).write_bytes(msgspec.json.encode(request))


def remove_request(folder: Path, name: str) -> None:
    """Forget who has begun a run that has not begun."""
    (folder / name / _REQUEST).unlink(missing_ok=True)


def read_request(folder: Path, name: str) -> Request | None:
    """Request for a run; None: nobody has begun it in the console, or it is not known."""
    path = folder / name / _REQUEST
    try:
        return from_json(path.read_bytes(), Request) if path.stat().st_size <= _BYTES_MAX else None
    except (OSError, msgspec.MsgspecError, RecursionError):
        return None
