"""Single keys of a terminal, without waiting for the end of a line; its settings are restored afterwards."""

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
        self._settings_before: list[Any] | None = None

    def __enter__(self) -> Self:
        if sys.stdin.isatty():
            self._settings_before = termios.tcgetattr(sys.stdin)
            # Ctrl-C stays a signal.
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._settings_before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._settings_before)

    def wait(self, seconds: float) -> str | None:
        """The next key; None: none was pressed in this time."""
        if self._settings_before is None:
            time.sleep(max(0.0, seconds))
            return None
        ready, _, _ = select.select([sys.stdin], [], [], max(0.0, seconds))
        if not ready:
            return None
        # The file's own buffer would keep what follows from `select`.
        key = os.read(sys.stdin.fileno(), 1)
        # A terminal that was closed has ended, and is always ready.
        return key.decode(errors="replace") or "q"
