"""Runs that are kept: a folder for each, with its result, journals, logs and the states of its capsules."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from backbeat.compose.drill.report.result import RunResult
from backbeat.schemas.requests.decoding import from_json

FOLDER_DEFAULT = Path(".backbeat/drills")
_RESULT = "result.json"
#: File whose lock is held by the process of a run: it goes on for as long as somebody holds it.
_LOCK = "lock"


#: A file of this name in a run's folder ends the run (`backbeat drill abort`); its text says who did it.
ABORT_FILE = "abort"


class RunsError(Exception):
    """There is no such run; the text says what there is."""


def new_run(folder: Path) -> Path:
    """The folder of a new run, named by the time."""
    name = time.strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        path = folder / f"{name}{suffix}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path
    raise RunsError(f"{folder}: a hundred runs have begun in this second.")


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of a run; the system gives it up when this process ends, however it ends."""
    with (path / _LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def aborted_by(path: Path) -> str:
    """Name of whoever has ended a run; empty: nobody has."""
    try:
        return (path / ABORT_FILE).read_text().strip() or "somebody"
    except FileNotFoundError:
        return ""


def write_result(path: Path, result: RunResult) -> None:
    """Keep the result of a run in its folder."""
    part = path / f"{_RESULT}.part"
    part.write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    part.replace(path / _RESULT)


def read_result(path: Path) -> RunResult:
    """The result of a run. RunsError: it has none."""
    try:
        return from_json((path / _RESULT).read_bytes(), RunResult)
    except OSError as error:
        raise RunsError(f"{path} has no result: {error.strerror}. The run goes on, or was cut off.") from error
    except msgspec.DecodeError as error:
        raise RunsError(f"{path / _RESULT} is no result of this version: {error}.") from error


def remove_data(stage: Path) -> None:
    """Remove what a run's own installation has stored, but for its logs."""
    for path in stage.glob("*"):
        if path.is_file():
            path.unlink()
        elif path.name != "log":
            shutil.rmtree(path, ignore_errors=True)


def list_runs(folder: Path) -> list[Path]:
    """The folders of all runs, oldest first."""
    return sorted(path for path in folder.glob("*") if path.is_dir())


def find_run(folder: Path, name: str | None) -> Path:
    """The run of this name (or path), or the newest one. RunsError."""
    if name is not None and (Path(name) / _RESULT).exists():
        return Path(name)
    runs = list_runs(folder)
    fitting = [run for run in runs if name in (None, run.name)]
    if not fitting:
        names = ", ".join(run.name for run in runs[-5:]) or "none"
        raise RunsError(f"there is no run {name or ''} in {folder}; the newest: {names}.")
    return fitting[-1]
