"""Faults of disks: full, a directory lost, files of a store damaged."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

import psutil

from backbeat.compose.drill.faults.fault import Fault, FaultError
from backbeat.compose.drill.faults.processes import Away, end, is_gone
from backbeat.compose.drill.topology.service import Service

_FILLER = ".backbeat-drill-filler"
_PIECE_BYTES = 256 * 1024


class DiskFull(Fault):
    """Fills the disk of the targets' data directories, and goes on filling whatever is freed.

    Only a disk of its own (a mount point): the drill fills no disk that others use.
    """

    def inject(self) -> None:
        """Fill it."""
        for target in self.targets:
            if not target.data_dir:
                raise FaultError(_no_directory(target))
            if not os.path.ismount(target.data_dir):
                raise FaultError(f"the data directory of {target.name} is no file system of its own")
        self.act()
        for path in self._fillers():
            self.note(f"{path}: {path.stat().st_size // 1024} KiB")

    def act(self) -> None:
        """Take whatever room there is."""
        for path in self._fillers():
            with path.open("ab", buffering=0) as filler:
                for size in (_PIECE_BYTES, 4096, 1):
                    with contextlib.suppress(OSError):
                        while True:
                            filler.write(bytes(size))

    def abort(self) -> None:
        """Give the room back, and let come what the full disk has ended."""
        self.for_each(lambda target: _filler(target).unlink(missing_ok=True))

    def check(self) -> list[str]:
        """Fillers that are there still."""
        return [f"{path} is there" for path in self._fillers() if path.exists()]

    def _fillers(self) -> list[Path]:
        return [_filler(target) for target in self.targets]


def _filler(target: Service) -> Path:
    return Path(target.data_dir) / _FILLER


def _no_directory(target: Service) -> str:
    reason = f": {target.unseen}" if target.namespace else ""
    return f"the topology names no data_dir of {target.name}{reason}"


def _seen(target: Service) -> psutil.Process:
    """Process of a target whose directory may be damaged once it is ended. FaultError: it might run on."""
    if not target.data_dir:
        raise FaultError(_no_directory(target))
    if not target.stop:
        raise FaultError(f"the topology names no stop of {target.name}: it might come while its directory is damaged")
    process = target.process()
    if process is None:
        raise FaultError(f"the process of {target.name} cannot be seen: it might use its directory")
    return process


def _end_seen(fault: Fault, target: Service) -> None:
    """Keep a target away and end its process. FaultError: it is there still."""
    process = _seen(target)
    end(fault, target)
    if target.process() is not None or not is_gone(process):
        raise FaultError(f"{target.name} (pid {process.pid}) does not end: its directory is left as it is")


class DirectoryLost(Away):
    """Kills the targets, removes what is in their data directories, and lets them come."""

    def inject(self) -> None:
        """All of it, at once. FaultError: a target cannot be seen or kept away."""
        for target in self.targets:
            _seen(target)
        for target in self.targets:
            _end_seen(self, target)
        for target in self.targets:
            for path in Path(target.data_dir).iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            self.note(f"{target.data_dir}: emptied")
            target.let_come()


class StoreDamage(Away):
    """Kills the targets, damages files of their stores in three ways, and lets them come.

    A third of the files of each store that has any: truncated, a bit flipped, or swapped for what they were
    `age_seconds` before.
    """

    _due_at = 0.0
    _done = False

    def inject(self) -> None:
        """Keep a copy of the files as they are. FaultError: a target cannot be seen or kept away."""
        for target in self.targets:
            _seen(target)
        for target in self.targets:
            for path in self._files(Path(target.data_dir)):
                copy = self._copy_of(target.data_dir, path)
                copy.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):  # the store has just removed it
                    shutil.copyfile(path, copy)
        self._due_at = time.monotonic() + float(self.arguments.get("age_seconds", 5.0))

    def act(self) -> None:
        """Damage them, once the copies are old."""
        if self._done or time.monotonic() < self._due_at:
            return
        self._done = True
        for target in self.targets:
            _end_seen(self, target)
            for number, path in enumerate(self._files(Path(target.data_dir))):
                if number % 3 == 0:
                    self._damage(target.data_dir, path)
            target.let_come()

    def abort(self) -> None:
        """Let them come; the copies go."""
        try:
            super().abort()
        finally:
            for target in self.targets:
                shutil.rmtree(self._copies(target.data_dir), ignore_errors=True)

    def check(self) -> list[str]:
        """Copies that are there still, and targets that did not come back."""
        copies = [self._copies(target.data_dir) for target in self.targets]
        return [*(f"{path} is there" for path in copies if path.exists()), *super().check()]

    def _damage(self, data_dir: str, path: Path) -> None:
        kind = self.chance.choice(["truncated", "flipped", "swapped for old"])
        size = path.stat().st_size
        old = self._copy_of(data_dir, path)
        if kind == "swapped for old" and old.exists():
            shutil.copyfile(old, path)
        elif kind == "flipped" and size:
            position = self.chance.randrange(size)
            with path.open("r+b") as file:
                file.seek(position)
                letter = file.read(1)
                file.seek(position)
                file.write(bytes([letter[0] ^ 1 << self.chance.randrange(8)]))
        else:
            kind = "truncated"
            os.truncate(path, self.chance.randrange(size + 1))
        self.note(f"{path.relative_to(data_dir)}: {kind}")

    @staticmethod
    def _files(data_dir: Path) -> list[Path]:
        kinds = ("*.sst", "MANIFEST-*", "CURRENT", "*.log", "OPTIONS-*")
        return sorted(path for kind in kinds for path in data_dir.rglob(kind) if path.is_file())

    @staticmethod
    def _copies(data_dir: str) -> Path:
        return Path(data_dir).with_name(f"{Path(data_dir).name}.drill-old")

    def _copy_of(self, data_dir: str, path: Path) -> Path:
        return self._copies(data_dir) / path.relative_to(data_dir)
