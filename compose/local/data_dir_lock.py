"""The lock of a data directory: one `backbeat dev` has it at a time."""

import fcntl
import os
from pathlib import Path
from typing import IO

from backbeat.compose.cli.errors import SetupError


def lock_data_dir(data_dir: Path) -> IO[str]:
    """Lock a directory until the returned file is closed. SetupError: another process has it."""
    lock_file = (data_dir / "lock").open("a+")
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock_file.seek(0)
        owner = lock_file.read().strip() or "unknown"
        lock_file.close()
        raise SetupError(
            f"the data directory {data_dir} is in use by another `backbeat dev` (pid {owner}). "
            "What to do: stop that one, or name another with --data-dir, or take a throw-away one with --ephemeral."
        ) from error
    lock_file.truncate(0)
    lock_file.write(str(os.getpid()))
    lock_file.flush()
    return lock_file
