"""Fault by a knob: a file of settings that something of the drill's own follows (proxy, endpoint, load, clock)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from backbeat.compose.drill.faults.fault import Fault, FaultError


class Knob(Fault):
    """Writes a value into the targets' knob: `knob` (its name), `value`, or `values` taken in turn over the time."""

    def inject(self) -> None:
        """Write the value, or the first of the values."""
        if not self._paths():
            raise FaultError(f"none of the targets has a knob {self.arguments['knob']!r} here")
        for path in self._paths():
            _write(path, self._values()[0])
        self.note(f"{self.arguments['knob']}: {json.dumps(self._values()[0])}")

    _ticks = 0

    def act(self) -> None:
        """Write the next of several values when its turn has come."""
        self._ticks += 1
        ticks = int(float(self.arguments.get("turn_seconds", 5.0)) * 20)
        if len(self._values()) > 1 and self._ticks % ticks == 0:
            value = self._values()[self._ticks // ticks % len(self._values())]
            for path in self._paths():
                _write(path, value)
            self.note(f"{self.arguments['knob']}: {json.dumps(value)}")

    def abort(self) -> None:
        """Remove the file: as it was."""
        for path in self._paths():
            path.unlink(missing_ok=True)

    def check(self) -> list[str]:
        """Files that are there still."""
        return [f"{path} is there" for path in self._paths() if path.exists()]

    def _values(self) -> list[Any]:
        return self.arguments.get("values") or [self.arguments["value"]]

    def _paths(self) -> list[Path]:
        name = self.arguments["knob"]
        return [Path(target.knobs[name]) for target in self.targets if name in target.knobs]


def _write(path: Path, value: Any) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value))
    part.replace(path)
