"""Fault of workers: killed while an activity is at work, by their own word."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

from backbeat.compose.drill.faults.fault import FaultError
from backbeat.compose.drill.faults.processes import Kill, send
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.watch.direct import read_metrics

RUNNING = "backbeat_worker_activities_running"
#: Name of the knob that makes each step of the load's workers take so many seconds.
STEPS_KNOB = "steps"


class KillAtWork(Kill):
    """Kills one of the targets, again and again, at a moment when its metrics say that an activity runs.

    `every_seconds` ([least, most]) as `kill`, then as soon as one is at work. `step_seconds`: so long takes each step
    of the load's own workers meanwhile; an activity is over before it is seen otherwise.
    """

    _kills: int | None = None

    def inject(self) -> None:
        """Make steps take long. FaultError: a target cannot be killed, or does not say whether it is at work."""
        super().inject()
        for target in self.targets:
            if not target.metrics_url:
                raise FaultError(f"{target.name} does not say whether it is at work: the topology has no metrics_url")
        self._kills = 0
        for knob in self._knobs():
            part = knob.with_name(f"{knob.name}.part")
            part.write_text(json.dumps(float(self.arguments.get("step_seconds", 0.3))))
            part.replace(knob)

    def act(self) -> None:
        """Kill one that is at work, when its time has come."""
        if time.monotonic() < self._next_at:
            return
        for target in self.chance.sample(self.targets, len(self.targets)):
            count = running(target)
            if count:
                self._plan_next()
                send(self, target, signal.SIGKILL)
                self.note(f"{target.name}: {count} activities were at work")
                self._kills = (self._kills or 0) + 1
                return

    def abort(self) -> None:
        """Let steps take as long as they do. FaultError: no worker was seen at work, so none was killed."""
        for knob in self._knobs():
            knob.unlink(missing_ok=True)
        if self._kills == 0:
            raise FaultError("no target was seen at work, so none was killed")

    def check(self) -> list[str]:
        """Targets that did not come back, and knobs that are there."""
        return [*super().check(), *(f"{knob} is there" for knob in self._knobs() if knob.exists())]

    def _knobs(self) -> list[Path]:
        return [Path(target.knobs[STEPS_KNOB]) for target in self.targets if STEPS_KNOB in target.knobs]


def running(target: Service) -> int:
    """Number of activities that a worker runs, by its metrics; 0 where it does not answer."""
    try:
        values = read_metrics(target.metrics_url)
    except (OSError, ValueError):
        return 0
    return int(sum(value for (name, _), value in values.items() if name == RUNNING))
