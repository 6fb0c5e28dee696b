"""Fault by a user's own commands: one to inject, one to take back, one that says what is left."""

from __future__ import annotations

import os
import subprocess

from backbeat.compose.drill.faults.fault import Fault, FaultError

_SECONDS_MAX = 120.0


class Script(Fault):
    """Commands, each a list of words: `inject`, `abort`, and `check`, which fails while something is left.

    They find the targets' names in DRILL_TARGETS and their process ids in DRILL_PIDS, apart by
    spaces.
    """

    def inject(self) -> None:
        """Run the command. FaultError: it failed."""
        result = self._run("inject")
        if result is not None and result.returncode:
            raise FaultError(f"the script's inject ended with {result.returncode}: {result.stdout.strip()}")

    def abort(self) -> None:
        """Run the command that takes back; a failure is noted, and `check` tells what is left."""
        result = self._run("abort")
        if result is not None and result.returncode:
            self.note(f"abort ended with {result.returncode}: {result.stdout.strip()}")

    def check(self) -> list[str]:
        """Output of the command that looks, where it failed."""
        result = self._run("check")
        if result is None or not result.returncode:
            return []
        return [line for line in result.stdout.splitlines() if line.strip()] or [
            f"check ended with {result.returncode}"
        ]

    def _run(self, name: str) -> subprocess.CompletedProcess[str] | None:
        command = self.arguments.get(name)
        if not command:
            return None
        processes = [target.process() for target in self.targets]
        env = {
            **os.environ,
            "DRILL_TARGETS": " ".join(target.name for target in self.targets),
            "DRILL_PIDS": " ".join(str(process.pid) for process in processes if process is not None),
        }
        return subprocess.run(
            list(command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=env,
            timeout=_SECONDS_MAX,
            check=False,
        )
