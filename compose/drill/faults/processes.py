"""Faults of processes: killed again and again, hanging, short of processor time, kept away, added, taken in turn."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

import psutil

from backbeat.compose.drill.faults.fault import Fault, FaultError
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.waiting import until

_BACK_SECONDS_MAX = 120.0
_END_SECONDS_MAX = 60.0


def send(fault: Fault, service: Service, number: signal.Signals) -> None:
    """Send a signal to a service, where it is there."""
    process = service.process()
    if service.signal(number):
        fault.note(f"{service.name}{f' (pid {process.pid})' if process is not None else ''}: {number.name}")


def require(targets: Sequence[Service], *numbers: signal.Signals) -> None:
    """FaultError: a target cannot be given one of these signals."""
    for target in targets:
        for number in numbers:
            if not target.takes(number):
                raise FaultError(f"{target.name} cannot be given {number.name}: {target.unseen}")


def require_away(targets: Sequence[Service]) -> None:
    """FaultError: a target cannot be kept away, and would come back at once, or not at all."""
    for target in targets:
        if not (target.stop and target.start):
            reason = target.unseen if target.namespace else "the topology has no stop and start of it"
            raise FaultError(f"{target.name} cannot be kept away: {reason}")


def end(fault: Fault, service: Service, number: signal.Signals = signal.SIGKILL) -> None:
    """Keep a service away and end its process, unless that was done by the command that keeps it away."""
    service.keep_away()
    process = service.process()
    if process is None:
        return
    send(fault, service, number)
    try:
        process.wait(_END_SECONDS_MAX)
    except psutil.TimeoutExpired:
        send(fault, service, signal.SIGKILL)


def is_gone(process: psutil.Process) -> bool:
    """True once a process has ended."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def missing(targets: list[Service]) -> list[str]:
    """Lines about targets whose process does not come back in time."""
    left = targets

    def is_back() -> bool:
        nonlocal left
        left = [target for target in targets if not target.is_there()]
        return not left

    # Looked at once: one that has come back may be ended again by what it was told before.
    until(is_back, _BACK_SECONDS_MAX)
    return [f"{target.name} is not running" for target in left]


class Kill(Fault):
    """Kills one of the targets at random, again and again: `every_seconds` ([least, most])."""

    _next_at = 0.0

    def inject(self) -> None:
        """Refuse a target that cannot be killed; `act` kills. FaultError."""
        require(self.targets, signal.SIGKILL)

    def act(self) -> None:
        """Kill the next one when its time has come."""
        if time.monotonic() < self._next_at:
            return
        self._plan_next()
        send(self, self.chance.choice(self.targets), signal.SIGKILL)

    def _plan_next(self) -> None:
        least, most = self.arguments.get("every_seconds", (4.0, 10.0))
        self._next_at = time.monotonic() + self.chance.uniform(least, most)

    def check(self) -> list[str]:
        """Targets that did not come back."""
        return missing(list(self.targets))


class Hang(Fault):
    """Stops the targets (SIGSTOP), and lets them go on in the end."""

    def inject(self) -> None:
        """Stop all of them. FaultError: one cannot be stopped."""
        require(self.targets, signal.SIGSTOP, signal.SIGCONT)
        for target in self.targets:
            send(self, target, signal.SIGSTOP)

    def abort(self) -> None:
        """Let them go on."""
        self.for_each(lambda target: send(self, target, signal.SIGCONT))

    def check(self) -> list[str]:
        """Targets that are stopped still."""
        processes = [(target.name, target.process()) for target in self.targets]
        return [
            f"{name} is stopped"
            for name, process in processes
            if process is not None and process.status() == psutil.STATUS_STOPPED
        ]


class Throttle(Hang):
    """Takes the processor away from the targets half of the time: stopped and continued at 10 Hz."""

    _stopped = False

    def inject(self) -> None:
        """Refuse a target that cannot be stopped; `act` takes turns. FaultError."""
        require(self.targets, signal.SIGSTOP, signal.SIGCONT)

    def act(self) -> None:
        """Take the next turn."""
        self._stopped = not self._stopped
        for target in self.targets:
            process = target.process()
            if process is not None:
                process.send_signal(signal.SIGSTOP if self._stopped else signal.SIGCONT)


class Away(Fault):
    """Ends the targets and keeps them away until the end: `signal` (KILL or TERM)."""

    def inject(self) -> None:
        """End all of them. FaultError: one cannot be kept away."""
        number = signal.Signals[f"SIG{self.arguments.get('signal', 'KILL')}"]
        require_away(self.targets)
        for target in self.targets:
            end(self, target, number)

    def abort(self) -> None:
        """Let them come."""
        self.for_each(Service.let_come)

    def check(self) -> list[str]:
        """Targets that did not come back."""
        return missing(list(self.targets))


class Come(Fault):
    """Adds the targets, which are kept away otherwise, and takes them away again in between: `stay_seconds`.

    A turn begins when all of them can be used: where a metrics address is known, once it answers.
    """

    _turn_at = 0.0
    _here = False

    def inject(self) -> None:
        """Refuse a target that cannot be kept away; `act` adds. FaultError."""
        require_away(self.targets)

    def act(self) -> None:
        """Take the next turn when its time has come."""
        now = time.monotonic()
        if self._here and not all(target.answers() for target in self.targets):
            self._turn_at = now + float(self.arguments.get("stay_seconds", 12.0))
        if now < self._turn_at:
            return
        self._turn_at = now + float(self.arguments.get("stay_seconds", 12.0))
        self._here = not self._here
        for target in self.targets:
            if self._here:
                target.let_come()
                self.note(f"{target.name}: added")
            else:
                end(self, target, signal.SIGTERM)

    def abort(self) -> None:
        """Take them away, in order."""
        self.for_each(lambda target: end(self, target, signal.SIGTERM))

    def check(self) -> list[str]:
        """Targets that are still there."""
        return [f"{target.name} is still running" for target in self.targets if target.process() is not None]


class Rolling(Fault):
    """Restarts the targets in order, one after the other, with a pause: `pause_seconds`; again while there is time."""

    _next = 0
    _next_at = 0.0

    def inject(self) -> None:
        """Refuse a target that cannot be ended in order; `act` restarts. FaultError."""
        require(self.targets, signal.SIGTERM)

    def act(self) -> None:
        """Restart the next one when the one before is there again."""
        now = time.monotonic()
        if now < self._next_at or not all(target.is_there() for target in self.targets):
            return
        self._next_at = now + float(self.arguments.get("pause_seconds", 8.0))
        send(self, self.targets[self._next % len(self.targets)], signal.SIGTERM)
        self._next += 1

    def check(self) -> list[str]:
        """Targets that did not come back."""
        return missing(list(self.targets))
