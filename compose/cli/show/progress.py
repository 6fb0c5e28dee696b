"""The progress of what takes long: what, how much, for how long. Standard library only, since `make setup` uses it."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Self

#: Takes a line for whoever is waiting.
Say = Callable[[str], None]

_TERMINAL_SECONDS = 0.2
_ERASE_LINE = "\r\x1b[2K"
_LINES_SECONDS = 10.0


class Progress:
    """One line about what goes on, with its seconds: written over on a terminal, else said anew every ten seconds."""

    def __init__(self, text: str, say: Say = print) -> None:
        self._text = text
        self._say = say
        self._began = time.monotonic()
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
        """Since when it has been going on."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """Say a line of its own, which stays."""
        if self._terminal and not self._ended.is_set():
            self._write(_ERASE_LINE)
        self._say(text)

    def show(self, text: str) -> None:
        """Another text from now on."""
        self._text = text

    def _run(self) -> None:
        shown = ""
        while not self._ended.wait(_TERMINAL_SECONDS if self._terminal else _LINES_SECONDS):
            text = f"  {self._text}, {self.seconds:.0f} s"
            if text == shown:
                continue
            shown = text
            if self._terminal:
                self._write(f"{_ERASE_LINE}{text}")
            else:
                self._say(text)

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
