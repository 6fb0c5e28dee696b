"""Progress of a long operation: its name, amount and duration. Standard library only, since `make setup` uses it."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Self

#: Prints a line for a user who waits.
Say = Callable[[str], None]

_TERMINAL_SECONDS = 0.2
_ERASE_LINE = "\r\x1b[2K"
_LINES_SECONDS = 10.0


class Progress:
    """A line about an operation, with its seconds: written over on a terminal, else printed anew every ten seconds."""

    def __init__(self, text: str, say: Say = print) -> None:
        self._text = text
        self._say = say
        self._began_at = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._terminal:
            self._write(_ERASE_LINE)

    @property
    def seconds(self) -> float:
        """Seconds since the begin."""
        return time.monotonic() - self._began_at

    def say(self, text: str) -> None:
        """Print a line of its own, which stays."""
        if self._terminal and not self._ended.is_set():
            self._write(_ERASE_LINE)
        self._say(text)

    def show(self, text: str) -> None:
        """Set another text."""
        self._text = text

    def _run(self) -> None:
        printed_text = ""
        while not self._ended.wait(_TERMINAL_SECONDS if self._terminal else _LINES_SECONDS):
            text = f"  {self._text}, {self.seconds:.0f} s"
            if text == printed_text:
                continue
            printed_text = text
            if self._terminal:
                self._write(f"{_ERASE_LINE}{text}")
            else:
                self._say(text)

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
