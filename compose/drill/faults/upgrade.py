"""Upgrade under load: services of the version before are replaced by today's, one after the other."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import psutil

from backbeat.compose.drill.faults.fault import Fault, FaultError
from backbeat.compose.drill.faults.processes import missing, send
from backbeat.compose.drill.topology.direct import open_directly
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.wheel import PYTHON_KNOB

_ASK_SECONDS_MAX = 2.0


class Upgrade(Fault):
    """Ends the targets in turn, each when all are ready, and lets today's version come: `pause_seconds`.

    What was not its turn when the time is over is upgraded in the end, all at once.
    """

    _next_at = 0.0

    def inject(self) -> None:
        """Refuse a target that is not of the version before; `act` takes turns. FaultError."""
        for target in self.targets:
            if PYTHON_KNOB not in target.knobs:
                raise FaultError(
                    f"{target.name} is not of the version before. What to do: give its wheel, --from-wheel"
                )

    def act(self) -> None:
        """Upgrade the next one when the one before is ready."""
        now = time.monotonic()
        pending = self._pending()
        if not pending or now < self._next_at or not all(_is_ready(target) for target in self.targets):
            return
        self._next_at = now + float(self.arguments.get("pause_seconds", 5.0))
        self._upgrade(pending[0])

    def abort(self) -> None:
        """Upgrade those that are left."""
        if pending := self._pending():
            self.note(f"left when the time was over: {', '.join(target.name for target in pending)}")
        for target in pending:
            self._upgrade(target)

    def check(self) -> list[str]:
        """Targets that did not come back, or not as today's version."""
        left = missing(list(self.targets))
        processes = [(target, target.process()) for target in self.targets]
        return left + [
            f"{target.name} is of the version before still"
            for target, process in processes
            if process is not None and _program(process) != sys.executable
        ]

    def _pending(self) -> list[Service]:
        return [target for target in self.targets if Path(target.knobs[PYTHON_KNOB]).read_text() != sys.executable]

    def _upgrade(self, target: Service) -> None:
        Path(target.knobs[PYTHON_KNOB]).write_text(sys.executable)
        send(self, target, signal.SIGTERM)


def _program(process: psutil.Process) -> str:
    try:
        return process.cmdline()[0]
    except (psutil.Error, IndexError):
        return ""


def _is_ready(target: Service) -> bool:
    """True where it is there, and says so itself where it can be asked."""
    if not target.metrics_url:
        return target.process() is not None
    try:
        with open_directly(f"{target.metrics_url.removesuffix('/metrics')}/ready", timeout=_ASK_SECONDS_MAX):
            return True
    except OSError:
        return False
