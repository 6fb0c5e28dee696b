"""A part of the system as a child process: started with a log of its own, stopped for sure, found again after a crash.

Three rules, for the broker and for the engines alike:

- A part does not outlive the process that started it: the kernel is asked to end it (Linux), and where that is not
  possible its pid file lets the next start on the same data directory find it and stop it.
- A pid alone says nothing, since pids come round: the file holds the time at which the process started, too.
- A part is stopped with SIGTERM, and after a bounded wait with SIGKILL.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.local.tether import tether
from backbeat.schemas.kafka.security import IN_THE_CLEAR

_TAIL_BYTES_MAX = 64 * 1024
#: Start times are read in clock ticks (10 ms) and turned into seconds; more difference is another process.
_START_TIME_SECONDS_OFF_MAX = 1.0

#: Environment of what runs on a Kafka of its own: nothing in it leads to another installation's search or archive.
ON_OWN_KAFKA: dict[str, str | None] = {**IN_THE_CLEAR, "BACKBEAT_DATABASE_URL": None, "BACKBEAT_ARCHIVE_TO": None}


class ChildProcess:
    """A child process with a name, a log file and a pid file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_path: Path,
        pid_path: Path,
        env: Mapping[str, str | None] | None = None,
        stop_seconds: float = 15.0,
        orphan_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        """`env`: variables beside those of this process; null: without one of them."""
        self.name = name
        self.command = list(command)
        self.log_path = log_path
        self.pid_path = pid_path
        self.env = dict(env or {})
        self.stop_seconds = stop_seconds
        #: Signal that the kernel sends it when the thread that started it has ended.
        self.orphan_signal = orphan_signal
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The process id, also of one that has ended; None before the first start."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """True while the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Its exit code, below 0 for a signal; None: it is running, or was never started."""
        return self._process.poll() if self._process else None

    @property
    def exit_reason(self) -> str:
        """Its end in words: `exit code 3`, `signal SIGKILL`."""
        code = self.exit_code
        if code is None:
            return "still running"
        if code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
        return f"signal {-code}"

    def start(self) -> None:
        """Start the process; its output is added to the log file."""
        assert not self.running, f"{self.name} is running already"
        if shutil.which(self.command[0]) is None:
            raise SetupError(f"{self.name} cannot be started: there is no program {self.command[0]}")
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self.pid_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            try:
                self._process = subprocess.Popen(
                    [*tether(self.orphan_signal), *self.command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={name: text for name, text in {**os.environ, **self.env}.items() if text is not None},
                    # Ctrl-C in the terminal is for the supervisor alone: it stops the parts in their order.
                    start_new_session=True,
                )
            except OSError as error:
                raise SetupError(f"{self.name} cannot be started: {error}") from error
        _write_pid(self.pid_path, self._process.pid)

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the process. False: it has not ended in time."""
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def check(self) -> None:
        """SetupError with its last lines: it has ended."""
        if not self.running:
            raise SetupError(f"the {self.name} died ({self.exit_reason}); its last lines:\n{last_lines(self.output())}")

    def signal(self, number: int) -> None:
        """Send a signal to the process, if it is there."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """End the process: SIGTERM, then SIGKILL. Nothing happens where it has ended."""
        if self._process is None:
            return
        self.signal(signal.SIGTERM)
        # A process that was stopped (SIGSTOP) sees no SIGTERM before it goes on.
        self.signal(signal.SIGCONT)
        if not self.wait(self.stop_seconds):
            self.kill()
        self.pid_path.unlink(missing_ok=True)

    def kill(self) -> None:
        """End the process at once (SIGKILL), as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def output(self) -> str:
        """Output of the process since its last start (the last part of it)."""
        return read_tail(self.log_path, self._log_start)


def read_tail(path: Path, start: int = 0) -> str:
    """The text of a log file from `start` on, but no more than its last part."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(start, size - _TAIL_BYTES_MAX))
            return log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def last_lines(text: str, count: int = 20) -> str:
    """The last lines of a text, indented, to be shown under a message."""
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines()[-count:])


def stop_left_over(pid_path: Path, *, seconds: float = 15.0) -> int | None:
    """Stop the process that a pid file names, if that very process still runs; its pid if so."""
    process = _named_process(pid_path)
    if process is None:
        pid_path.unlink(missing_ok=True)
        return None
    try:
        process.terminate()
        process.resume()
        try:
            process.wait(seconds)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(seconds)
    except psutil.NoSuchProcess:
        pass
    except (psutil.AccessDenied, psutil.TimeoutExpired) as error:
        raise SetupError(f"process {process.pid} of {pid_path} is left over and cannot be stopped: {error}") from error
    pid_path.unlink(missing_ok=True)
    return process.pid


def _named_process(pid_path: Path) -> psutil.Process | None:
    try:
        pid_record = json.loads(pid_path.read_text())
        process = psutil.Process(int(pid_record["pid"]))
        is_same = abs(process.create_time() - float(pid_record["started"])) < _START_TIME_SECONDS_OFF_MAX
        return process if is_same and process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        # No file, half a file (written while the machine went down), or no such process: nothing is left over.
        return None


def _write_pid(pid_path: Path, pid: int) -> None:
    try:
        started_at = psutil.Process(pid).create_time()
    except psutil.Error:
        started_at = time.time()  # it has ended already: its exit code tells how
    temporary = pid_path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"pid": pid, "started": started_at}))
    temporary.replace(pid_path)
