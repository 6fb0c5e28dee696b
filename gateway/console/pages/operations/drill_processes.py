"""Processes of drills: `backbeat drill`, begun and aborted for operators on installations that the gateway was told of.

A run is a process in a session of its own: it goes on when this gateway is stopped, takes its faults back by itself
when their time is over, and answers to whoever has its folder.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from backbeat.gateway.console.pages.operations.drill_runs import (
    OUTPUT,
    DrillsError,
    Request,
    is_under_way,
    last_output,
    list_names,
    read_request,
    remove_request,
    write_request,
)
from backbeat.gateway.settings import UiSettings
from backbeat.schemas.environment import PREFIX
from backbeat.schemas.kafka.security import PREFIX as KAFKA_PREFIX
from backbeat.schemas.requests.decoding import from_json

#: Installation that a run starts on the gateway's host, and removes in the end.
HERE = "here"
_PROGRAM = (sys.executable, "-m", "backbeat.compose", "drill")
#: Runs that may have been begun by the same form.
_NEWEST = 50
_LIST_SECONDS_MAX = 60.0
_START_SECONDS_MAX = 60.0
_ABORT_SECONDS_MAX = 20.0
_LOOK_SECONDS = 0.1
_OUTPUT_CHARACTERS = 600
#: Variables of the gateway that a run has, too, beside those that are not Backbeat's. Others are the gateway's own, its
#: search, archives and secrets among them: what a run starts here would take them for its own.
_ENVIRONMENT = tuple(f"{PREFIX}{name}" for name in ("KAFKA_JAVA_OPTIONS", "MAVEN_REPOSITORY", "PURE", "TEST_"))


class PlayChoice(msgspec.Struct, frozen=True):
    """A play that can be chosen."""

    name: str
    summary: str = ""
    fault: str = ""
    seconds: float = 0.0
    on_request: str = ""


class BusyError(DrillsError):
    """Another run is under way."""


class RefusedError(DrillsError):
    """The command line has refused a run, or an abort; the text is its own."""


class Drills:
    """Drills that one gateway begins and aborts."""

    def __init__(self, settings: UiSettings) -> None:
        assert settings.drills is not None, "there is a folder of runs"
        self.folder = settings.drills.absolute()
        self._key_file = settings.drill_key_file
        #: Files of the installations by name; None: the one that is started here.
        self.installations: dict[str, Path | None] = {
            HERE if str(path) == HERE else path.stem: None if str(path) == HERE else path.absolute()
            for path in settings.drill_topologies
        }
        self._plays: list[PlayChoice] = []
        #: Of the installation that was asked for last, by its file and when that was written.
        self._services: dict[tuple[Path, int], list[str]] = {}

    # All of these block.

    def plays(self) -> list[PlayChoice]:
        """Plays of the playbook, as the command line has them. DrillsError."""
        if not self._plays:
            lines = _output_of(["list", "--json"]).splitlines()
            self._plays = [from_json(line, PlayChoice) for line in lines]
        return self._plays

    def services(self, installation: str) -> list[str]:
        """Names of an installation's services; none of one that is started for the run. DrillsError."""
        path = self.installations[installation]
        if path is None:
            return []
        try:
            changed_at = path.stat().st_mtime_ns
        except OSError as error:
            raise DrillsError(f"{path} cannot be read: {error.strerror}") from error
        names = self._services.get((path, changed_at))
        if names is None:
            lines = _output_of(["list", "--topology", str(path), "--json"]).splitlines()
            rows = [from_json(line, dict[str, object]) for line in lines]
            names = [str(next(iter(row.values()), "?")) for row in rows]
            self._services = {(path, changed_at): names}
        return names

    def start(self, request: Request, seconds: float | None) -> str:
        """Begin a run; its name, once it is under way. BusyError, RefusedError, DrillsError."""
        with self._alone():
            names = list_names(self.folder, _NEWEST)
            for name in names:
                earlier = read_request(self.folder, name)
                if earlier is not None and earlier.key == request.key:
                    return name
            busy = next((name for name in names if is_under_way(self.folder, name)), None)
            if busy is not None:
                raise BusyError(f"Run {busy} is under way: wait for its end, or abort it.")
            path = _new_folder(self.folder)
            write_request(self.folder, path.name, request)
            try:
                self._launch(path, request, seconds)
            except RefusedError:
                # The same form, sent again, begins it anew.
                remove_request(self.folder, path.name)
                raise
        return path.name

    def _launch(self, path: Path, request: Request, seconds: float | None) -> None:
        words = ["run", *request.plays, "--into", str(path)]
        topology = self.installations[request.installation]
        if topology is not None:
            words += ["--topology", str(topology)]
            if self._key_file is not None:
                words += ["--key-file", str(self._key_file.absolute())]
        if seconds is not None:
            words += ["--seconds", f"{seconds:g}"]
        with (path / OUTPUT).open("wb") as output:
            process = subprocess.Popen(
                [*_PROGRAM, *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(is_here=topology is None),
                # A signal to the gateway's group, as Ctrl-C, is none to the run.
                start_new_session=True,
            )
        # Whoever has started a process learns of its end, or it stays in the system's table.
        threading.Thread(target=process.wait, name=f"drill {path.name}", daemon=True).start()
        end = time.monotonic() + _START_SECONDS_MAX
        while not is_under_way(self.folder, path.name):
            if process.poll() is not None:
                raise RefusedError(f"The run has ended at once: {last_output(self.folder, path.name)}")
            if time.monotonic() > end:
                process.terminate()
                raise DrillsError(f"The run has not begun within {_START_SECONDS_MAX:.0f} s, and was ended.")
            time.sleep(_LOOK_SECONDS)

    def abort(self, name: str, by: str) -> bool:
        """End a run; True: all of it was taken back, False: that goes on. RefusedError: something is left."""
        process = subprocess.Popen(
            # No word of a command line has a NUL.
            [*_PROGRAM, "abort", name, "--folder", str(self.folder), "--by", by.replace("\0", " ")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(),
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=_ABORT_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            threading.Thread(target=process.communicate, name=f"abort of {name}", daemon=True).start()
            return False
        if process.returncode != 0:
            raise RefusedError(_last_words(output))
        return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder: of two forms that are sent at once one is first, also at two gateways."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / "lock").open("w")
        except OSError as error:
            raise DrillsError(f"{self.folder} cannot be written: {error.strerror}") from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _new_folder(folder: Path) -> Path:
    """The folder of a new run, named by the time as those of the command line are."""
    name = time.strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        try:
            (folder / f"{name}{suffix}").mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise DrillsError(f"{folder} cannot be written: {error.strerror}") from error
        return folder / f"{name}{suffix}"
    raise DrillsError(f"{folder}: a hundred runs have begun in this second.")


def _output_of(words: list[str]) -> str:
    """Output of the command line for these words. DrillsError."""
    try:
        result = subprocess.run(
            [*_PROGRAM, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LIST_SECONDS_MAX,
            check=False,
            env=_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise DrillsError(f"backbeat drill {words[0]} gave no answer within {_LIST_SECONDS_MAX:.0f} s") from error
    if result.returncode != 0:
        raise DrillsError(_last_words(result.stderr))
    return result.stdout.decode()


def _environment(*, is_here: bool = False) -> dict[str, str]:
    """Environment of a run; with the way into Kafka, but for one that starts its own Kafka here."""
    kept = _ENVIRONMENT if is_here else (*_ENVIRONMENT, KAFKA_PREFIX)
    return {name: text for name, text in os.environ.items() if not name.startswith(PREFIX) or name.startswith(kept)}


def _last_words(output: bytes) -> str:
    return output.decode(errors="replace").strip()[-_OUTPUT_CHARACTERS:] or "it says nothing"
