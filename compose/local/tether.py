"""A child process that does not outlive the one that started it, where the kernel can see to that (Linux)."""

import shutil
import signal
import sys


def tether(orphan_signal: signal.Signals) -> list[str]:
    """Words before a command that make the kernel end it when the thread that started it ends.

    A program in between rather than code between fork and exec: the parents have threads (librdkafka's), and code that
    runs in a forked copy of those can hang.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", orphan_signal.name.removeprefix("SIG"), "--"] if setpriv else []
