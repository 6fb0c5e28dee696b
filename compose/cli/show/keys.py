"""Keys as they are pressed, without waiting for the end of a line; and the terminal as it was, afterwards."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from types import TracebackType
from typing import Any, Self


class Keys:
    """Reads single keys from standard input where that is a terminal; else there are none."""

    def __init__(self) -> None:
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        if sys.stdin.isatty():
            self._before = termios.tcgetattr(sys.stdin)
            # Ctrl-C stays a signal.
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def wait(self, seconds: float) -> str | None:
        """The next key; None: none was pressed in this time."""
        if self._before is None:
            time.sleep(max(0.0, seconds))
            return None
        ready, _, _ = select.select([sys.stdin], [], [], max(0.0, seconds))
        if not ready:
            return None
        # The file's own buffer would keep what follows from `select`.
        pressed = os.read(sys.stdin.fileno(), 1)
        # A terminal that was closed has ended, and is always ready.
        return pressed.decode(errors="replace") or "q"
