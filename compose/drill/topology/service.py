"""Services: the processes of an installation, and what faults must know to reach them."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import msgspec
import psutil

from backbeat.compose.drill.topology.direct import open_directly

_COMMAND_SECONDS_MAX = 60.0
#: Start times are read in clock ticks and turned into seconds; more difference is another process.
_START_TIME_SECONDS_OFF_MAX = 1.0


class Service(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A process: broker, engine, gateway, worker, endpoint, or a user's own role."""

    name: str
    role: str
    #: the host that it runs on; empty: this one
    host: str = ""
    version: str = ""
    #: address of its metrics in Prometheus' text; empty: none
    metrics_url: str = ""
    #: names or roles of what it cannot do without
    depends_on: tuple[str, ...] = ()
    #: file with its process id: the number alone, or JSON with `pid` and `started`. A process that has begun after the
    #: file was written is another one.
    pid_file: str = ""
    #: command that prints its process id, instead of a file: systemctl show -P MainPID backbeat-engine@1
    pid_command: tuple[str, ...] = ()
    #: command that keeps it away until `start`: systemctl stop …
    stop: tuple[str, ...] = ()
    #: command that lets it come again
    start: tuple[str, ...] = ()
    #: commands instead of signals, by their names, for one whose process no capsule sees:
    #: SIGKILL = ["docker", "kill", "engine-1"]
    signals: dict[str, tuple[str, ...]] = {}
    data_dir: str = ""
    log: str = ""
    #: command that prints its log of the last `{seconds}`, where it is no file here, run on its host:
    #: journalctl --unit backbeat-engine@1 --since=-{seconds}s
    log_command: tuple[str, ...] = ()
    #: files of settings that its faults write, by name: proxy, endpoint, clock, load
    knobs: dict[str, str] = {}
    #: of Kubernetes, where it is a pod: other namespaces have pods of the same name
    namespace: str = ""

    def process(self) -> psutil.Process | None:
        """Its process at this moment; None: it is not there."""
        try:
            pid, started_at, written_at = self._read_pid()
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            began_at = process.create_time()
        except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError, psutil.Error):
            return None
        if started_at is not None:
            return process if abs(began_at - started_at) < _START_TIME_SECONDS_OFF_MAX else None
        return process if began_at - written_at < _START_TIME_SECONDS_OFF_MAX else None

    def is_there(self) -> bool:
        """True where its process is there; where none can be seen from here, where its metrics can be read."""
        return self.answers() if self.signals else self.process() is not None

    @property
    def unseen(self) -> str:
        """Why a capsule does no more to its process than it can; for errors."""
        if self.namespace:
            return (
                "it is a pod, into which no capsule looks; `kubectl` kills or ends those that come back under their "
                "name (a StatefulSet's), and does no more"
            )
        return "the topology has no pid_file, pid_command or signals of it"

    def takes(self, number: signal.Signals) -> bool:
        """True where it can be given a signal."""
        return number.name in self.signals if self.signals else bool(self.pid_file or self.pid_command)

    def signal(self, number: signal.Signals) -> bool:
        """Give it a signal that it takes. False: it is not there. CalledProcessError: the command for it failed."""
        if self.signals:
            _run(self.signals[number.name])
            return True
        process = self.process()
        try:
            if process is not None:
                process.send_signal(number)
        except psutil.NoSuchProcess:
            return False
        return process is not None

    def answers(self) -> bool:
        """True where it is there and its metrics can be read, if it has any."""
        if not self.metrics_url:
            return self.process() is not None
        try:
            with open_directly(self.metrics_url, timeout=1):
                return True
        except OSError:
            return False

    def keep_away(self) -> None:
        """Run the command that keeps it away. CalledProcessError: it failed."""
        _run(self.stop)

    def let_come(self) -> None:
        """Run the command that lets it come again."""
        _run(self.start)

    def _read_pid(self) -> tuple[int, float | None, float]:
        """The process id, when it began if that is known, and when the id was written, in seconds since the epoch."""
        if self.pid_command:
            return int(_run(self.pid_command)), None, time.time()
        path = Path(self.pid_file)
        value, written_at = json.loads(path.read_text()), path.stat().st_mtime
        if isinstance(value, int):
            return value, None, written_at
        return int(value["pid"]), float(value["started"]), written_at


def _run(command: tuple[str, ...]) -> str:
    if not command:
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_COMMAND_SECONDS_MAX).stdout
