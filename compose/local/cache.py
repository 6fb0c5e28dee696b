"""The cache folder: files that can be fetched or made again, shared by all of a user's processes."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.show.progress import Progress, Say


def cache_folder() -> Path:
    """Folder of files that can be fetched again: $XDG_CACHE_HOME/backbeat, else ~/.cache/backbeat."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "backbeat"


@contextlib.contextmanager
def alone(name: str, activity: str, say: Say) -> Iterator[None]:
    """Let one process at a time work on this name in the cache folder; others wait, and `say` tells of its `activity`.

    The system releases the lock when the process ends, however it ends.
    """
    path = cache_folder() / f"{name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise SetupError(
            f"the cache folder {path.parent} cannot be used: {error.strerror}. "
            "What to do: name another one with XDG_CACHE_HOME."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another process is {activity}; waiting for it …")
            with Progress("waiting", say):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
