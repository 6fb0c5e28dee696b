"""`backbeat worker --reload`: the worker in a child process, which is started anew whenever a Python file changes.

The child is this very command line. It hears SIGTERM only (`cli.processes.worker`), so that Ctrl-C, which reaches every
process of a terminal, counts once. One that cannot start, while a file is half written, waits for the next change.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

import click
from watchfiles import PythonFilter, watch

from backbeat.compose.cli.exit_codes import Exit
from backbeat.compose.local.tether import tether

#: Interval of looking whether the child has ended by itself.
_POLL_MILLISECONDS = 500
#: After a change: bound of the time that running activities have to end, and then the process. What is cut off is run
#: again, as after any end of a worker.
_GRACE_SECONDS = 5.0


def run_reloading(variable: str) -> int:
    """Run this command line's worker until SIGINT or SIGTERM; its exit code.

    `variable`: the environment variable that tells the child which process restarts it.
    """
    folder = Path.cwd()
    click.echo(f"Watching the Python files below {folder}.", err=True)
    stopping = threading.Event()
    child = _start(variable)

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        stopping.set()
        child.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    has_ended = is_restarted = False
    for changes in watch(
        folder,
        watch_filter=PythonFilter(),
        stop_event=stopping,
        rust_timeout=_POLL_MILLISECONDS,
        yield_on_timeout=True,
        ignore_permission_denied=True,
    ):
        if changes:
            files = sorted({os.path.relpath(path, folder) for _, path in changes})
            click.echo(f"Changed: {', '.join(files)}. The worker is started anew.", err=True)
            _end(child)
            child = _start(variable)
            if stopping.is_set():
                child.terminate()
            has_ended, is_restarted = False, True
        elif not has_ended and (code := child.poll()) is not None:
            # No change of a file makes Kafka come back, or mends a word of the command line.
            if code == Exit.UNREACHABLE or (code == Exit.USAGE and not is_restarted):
                return code
            click.echo(f"The worker has ended (exit code {code}). The next change of a file starts it.", err=True)
            has_ended = True
    click.echo("Stopping the worker.", err=True)
    code = child.wait()
    # It may not have come as far as to hear the signal.
    return 0 if has_ended or code == -signal.SIGTERM else code


def _start(variable: str) -> subprocess.Popen[bytes]:
    command = [*tether(signal.SIGTERM), sys.executable, "-m", "backbeat.compose", *sys.argv[1:]]
    return subprocess.Popen(command, env={**os.environ, variable: str(os.getpid())})


def _end(child: subprocess.Popen[bytes]) -> None:
    """End it: the second SIGTERM tells it not to wait for running activities."""
    for end in (child.terminate, child.terminate, child.kill):
        end()
        try:
            child.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return
