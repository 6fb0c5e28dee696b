"""Keeper: child processes of a drill, each started again when it dies, unless a fault holds it.

A part is held while its *hold file* is there: whoever wants it away makes that file and ends the process, and lets it
come again by removing the file. So a capsule needs nothing from the tower, and nothing is left when the file is gone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.drill.waiting import until
from backbeat.compose.local.child_process import ChildProcess, last_lines
from backbeat.compose.local.kafka import KafkaBroker

_LOOK_SECONDS = 0.1
_PAUSE_SECONDS_FIRST = 0.2
_PAUSE_SECONDS_MAX = 5.0
#: A part that has run for so long begins its pauses anew.
_STEADY_SECONDS = 30.0
_START_SECONDS_MAX = 180.0


@dataclass
class Part:
    """A process that is kept: a broker, or any other child."""

    name: str
    process: KafkaBroker | ChildProcess
    hold: Path
    #: True once it can be used, by its own word
    is_ready: Callable[[], bool] = lambda: True
    #: brokers first, what needs them later, and the other way when they are stopped
    order: int = 0
    starts: int = 0
    #: each end that nobody asked for: (monotonic seconds, reason)
    deaths: list[tuple[float, str]] = field(default_factory=list)
    start_at: float = 0.0
    started_at: float = 0.0

    def launch(self) -> None:
        """Start the process."""
        if isinstance(self.process, KafkaBroker):
            self.process.launch()
        else:
            self.process.start()
        self.starts += 1
        self.started_at = time.monotonic()


class Keeper:
    """Thread that starts the parts and looks after them, from `start()` to `stop()`.

    One thread starts all of them: the kernel ends a part when the thread that started it ends.
    """

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.failure: str | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper")

    def start(self) -> None:
        """Begin to keep the parts."""
        self._thread.start()

    def stop(self) -> None:
        """Stop all parts: those of the highest order first."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def add(self, parts: list[Part]) -> None:
        """Add parts; each is started within a moment, unless it is held."""
        with self._lock:
            self.parts = [*self.parts, *parts]

    def wait_ready(self, parts: list[Part], seconds: float = _START_SECONDS_MAX) -> None:
        """Wait until parts can be used. SetupError: not in time, with the last lines of the first that cannot."""
        deadline = time.monotonic() + seconds
        for part in parts:

            def is_ready(part: Part = part) -> bool:
                if self.failure is not None:
                    raise SetupError(self.failure)
                return part.starts > 0 and part.process.running and part.is_ready()

            if not until(is_ready, deadline - time.monotonic()):
                raise SetupError(
                    f"{part.name} was not ready within {seconds:.0f} s; its last lines:\n{last_words(part)}"
                )

    def _run(self) -> None:
        try:
            while not self._stopping.wait(_LOOK_SECONDS):
                with self._lock:
                    parts = self.parts
                for part in parts:
                    self._look(part)
        except Exception as error:
            self.failure = f"the keeper of the drill's processes ended: {error}"
            raise
        finally:
            self._stop_parts()

    @staticmethod
    def _look(part: Part) -> None:
        if part.process.running:
            return
        now = time.monotonic()
        if part.starts > len(part.deaths):
            part.deaths.append((now, part.process.exit_reason))
            lived = now - part.started_at
            shorter = 0 if lived > _STEADY_SECONDS else min(len(part.deaths), 5)
            part.start_at = now + min(_PAUSE_SECONDS_MAX, _PAUSE_SECONDS_FIRST * 2**shorter)
        if now >= part.start_at and not part.hold.exists():
            try:
                part.launch()
            except (OSError, SetupError) as error:
                # A disk that a fault has filled, for example: it is tried again.
                part.deaths.append((now, f"could not be started: {error}"))
                part.starts = len(part.deaths)
                part.start_at = now + _PAUSE_SECONDS_MAX

    def _stop_parts(self) -> None:
        for order in sorted({part.order for part in self.parts}, reverse=True):
            threads = [
                threading.Thread(target=part.process.stop) for part in self.parts if part.order == order and part.starts
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()


def last_words(part: Part) -> str:
    """The last lines of a part's output."""
    return part.process.tail() if isinstance(part.process, KafkaBroker) else last_lines(part.process.output())
