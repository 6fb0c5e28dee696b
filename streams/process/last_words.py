"""The end of a process of which some part hangs, so that nothing of it can be relied on."""

from __future__ import annotations

import faulthandler
import os
import threading
from collections.abc import Callable
from typing import NoReturn

_SECONDS = 2.0


def last_words(say: Callable[[], object], code: int) -> NoReturn:
    """Write every thread's stack for whoever looks for the cause, say why, and end the process with this code.

    What hangs may hold the lock of the log, so the saying is left to a thread that is not waited for long.
    """
    faulthandler.dump_traceback(all_threads=True)
    saying = threading.Thread(target=say, name="last-words", daemon=True)
    saying.start()
    saying.join(_SECONDS)
    os._exit(code)
