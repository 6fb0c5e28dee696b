"""Shaped traffic: what leaves a host over a device is delayed, lost or slowed by the kernel (`tc`, netem)."""

from __future__ import annotations

import json
import subprocess

from backbeat.compose.drill.faults.fault import Fault, FaultError

#: Kinds that the kernel gives a device by itself.
_DEFAULTS = ("noqueue", "mq", "pfifo_fast", "fq", "fq_codel")
_SECONDS_MAX = 20.0


class Shape(Fault):
    """Adds a rule to a device of the host on which the targets are, and takes it away in the end.

    `device`; `qdisc`: the kind of rule, netem by default; `words`: what `tc` is told behind it (delay 100ms loss 1%).
    """

    def inject(self) -> None:
        """Add the rule.

        FaultError: a target is elsewhere, the device has rules of somebody's, or the kernel does not know such a rule.
        """
        if elsewhere := [target.name for target in self.targets if target.process() is None]:
            raise FaultError(
                f"{', '.join(elsewhere)} cannot be seen on the host that would be shaped. What to do: name its host, "
                "and its pid_file or pid_command; a pod's host is shaped by a play of your own"
            )
        others = [rule["kind"] for rule in self._rules() if rule["kind"] not in _DEFAULTS]
        if others:
            raise FaultError(f"{self._device} has rules already ({', '.join(others)}): they would be lost")
        kind = str(self.arguments.get("qdisc", "netem"))
        words = [str(word) for word in self.arguments.get("words", ())]
        _tc("qdisc", "add", "dev", self._device, "root", "handle", self._handle, kind, *words)
        self.note(f"{self._device}: {' '.join([kind, *words])}")

    def abort(self) -> None:
        """Take it away."""
        if self._is_there():
            _tc("qdisc", "del", "dev", self._device, "root")

    def check(self) -> list[str]:
        """A rule that is there still."""
        return [f"the rule {self._handle} of {self._device} is there"] if self._is_there() else []

    @property
    def _device(self) -> str:
        return str(self.arguments["device"])

    @property
    def _handle(self) -> str:
        """Handle of the rule that this order adds: no other is ever removed."""
        return f"d{str(self.arguments['order'])[:3]}:"

    def _is_there(self) -> bool:
        return any(rule.get("handle") == self._handle for rule in self._rules())

    def _rules(self) -> list[dict[str, str]]:
        rules: list[dict[str, str]] = json.loads(_tc("-json", "qdisc", "show", "dev", self._device) or "[]")
        return [rule for rule in rules if rule.get("root")]


def _tc(*words: str) -> str:
    """The output of `tc`. FaultError: it is not there, or fails."""
    command = ["tc", *words]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS_MAX)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FaultError(f"`{' '.join(command)}`: {error}") from error
    if result.returncode:
        raise FaultError(f"`{' '.join(command)}`: {result.stderr.strip()}")
    return result.stdout
