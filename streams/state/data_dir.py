"""Data directory of an engine, locked by the process for as long as it lives."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from typing import IO

#: A stopping engine commits first: its successor waits for that.
_WAIT_SECONDS = 5.0
_LOOK_SECONDS = 0.1


class DataDirError(Exception):
    """The data directory cannot be used; the text says what to do."""

    def __init__(self, text: str, *, may_pass: bool) -> None:
        """`may_pass`: true where a later start may succeed by itself."""
        super().__init__(text)
        self.may_pass = may_pass


def lock_data_dir(data_dir: Path, wait_seconds: float = _WAIT_SECONDS) -> IO[str]:
    """Lock the data directory for this process; closing the file releases it. DataDirError."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "lock").open("a+")
    except OSError as error:
        raise DataDirError(
            f"the data directory {data_dir} cannot be used: {error.strerror}. What to do: make it a directory that "
            f"this user may write to, on a disk that has room, or name another with --data-dir",
            may_pass=error.errno in {errno.ENOSPC, errno.EDQUOT},
        ) from error
    deadline = time.monotonic() + wait_seconds
    while not _locked(lock):
        if time.monotonic() > deadline:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise DataDirError(
                f"the data directory {data_dir} is in use by another engine (pid {owner}). What to do: stop that one, "
                f"or give this one a --data-dir and an --instance-id of its own",
                may_pass=False,
            )
        time.sleep(_LOOK_SECONDS)
    with contextlib.suppress(OSError):  # A full disk is no error: the pid is for people, the lock counts.
        os.truncate(lock.fileno(), 0)
        os.write(lock.fileno(), str(os.getpid()).encode())
    return lock


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
