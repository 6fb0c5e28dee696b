"""End of a process with a hanging part."""

from __future__ import annotations

import faulthandler
import os
import threading
from collections.abc import Callable
from typing import NoReturn

_SECONDS = 2.0


def last_words(say: Callable[[], object], code: int) -> NoReturn:
    """Write every thread's stack, call `say` to log the reason, and end the process with this exit code.

    The hanging part may hold the lock of the log, so `say` runs on a thread that is not waited for long.
    """
    faulthandler.dump_traceback(all_threads=True)
    saying = threading.Thread(target=say, name="last-words", daemon=True)
    saying.start()
    saying.join(_SECONDS)
    os._exit(code)
