"""Restarts of a part that dies: with a growing pause, and not for ever."""

import time
from collections import deque

from backbeat.compose.cli.show.progress import Say
from backbeat.compose.local.child_process import ChildProcess, last_lines

#: So many deaths within so many seconds have a cause that starting again does not mend.
DEATHS_MAX = 5
DEATHS_SECONDS = 60.0
#: The exit code of an engine whose state and topics do not belong together.
EXIT_INCONSISTENT_STATE = 4
_PAUSE_SECONDS_FIRST = 0.1
_PAUSE_SECONDS_MAX = 5.0


class Supervisor:
    """Supervisor of a part, looked at every now and then by `check()`, from one thread only."""

    def __init__(self, process: ChildProcess, ready_line: str, say: Say) -> None:
        self.process = process
        self._ready_line = ready_line
        self._say = say
        self._deaths: deque[float] = deque()
        self._start_at: float | None = 0.0
        self._has_been_ready = False
        self._is_wanted = True
        self._death_expected = False

    @property
    def name(self) -> str:
        """Name of the part in messages."""
        return self.process.name

    @property
    def ready(self) -> bool:
        """True while it can be used, as of its newest start."""
        return self._has_been_ready and self._is_wanted and not self._death_expected and self.process.running

    def kill(self) -> None:
        """Kill it (from any thread): it is started again at once, and this death is not counted."""
        self._death_expected = self.process.running
        self.process.kill()

    def stop(self) -> None:
        """Stop it in order (from any thread): it stays stopped until `start()`."""
        self._is_wanted = False
        self.process.stop()

    def start(self) -> None:
        """Let the next check start it. Deaths before are not counted any more: somebody has seen to it."""
        self._deaths.clear()
        self._start_at = 0.0
        self._is_wanted = True

    def check(self) -> str | None:
        """Start it (again), or notice that it is ready; the reason to stop all parts, where it died too often."""
        if not self._is_wanted:
            return None
        if self.process.running:
            if not self._has_been_ready and self._ready_line in self.process.output():
                self._has_been_ready = True
            return None
        if self._start_at is None:
            return self._note_death()
        if time.monotonic() >= self._start_at:
            self._start_at = None
            self._has_been_ready = False
            self.process.start()
        return None

    def _note_death(self) -> str | None:
        now = time.monotonic()
        self._has_been_ready = False
        if self._death_expected:
            self._death_expected = False
            self._start_at = now
            return None
        if self.process.exit_code == EXIT_INCONSISTENT_STATE:
            return (
                f"{self.name} refuses to run, and starting it again would not help; its last lines "
                f"({self.process.log_path}):\n{last_lines(self.process.output())}"
            )
        self._deaths.append(now)
        while self._deaths[0] < now - DEATHS_SECONDS:
            self._deaths.popleft()
        death = f"{self.name} died ({self.process.exit_reason})"
        if len(self._deaths) >= DEATHS_MAX:
            return (
                f"{death}, for the {DEATHS_MAX}th time within {DEATHS_SECONDS:.0f} s; its last lines "
                f"({self.process.log_path}):\n{last_lines(self.process.output())}"
            )
        pause = min(_PAUSE_SECONDS_FIRST * 2 ** (len(self._deaths) - 1), _PAUSE_SECONDS_MAX)
        self._start_at = now + pause
        self._say(f"{death}; starting it again in {pause:.1f} s.")
        return None
