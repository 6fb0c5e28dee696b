"""A PostgreSQL of the tests' own, from the distribution's packages, on loopback. It refuses to run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backbeat.compose.ports import free_port

_START_SECONDS_MAX = 60.0


def programs() -> Path | None:
    """Where initdb and postgres are: of the newest version that is installed."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3].partition(".")[0])
    )
    if found:
        return found[-1].parent
    named = shutil.which("initdb")
    return Path(named).resolve().parent if named else None


def why_not() -> str | None:
    """Why no PostgreSQL can be started; null: one can."""
    if programs() is None:
        return "no PostgreSQL is installed (Debian, Ubuntu: apt-get install postgresql)"
    if os.geteuid() == 0 and (_somebody() is None or shutil.which("setpriv") is None):
        return "PostgreSQL does not run as root, and there is no user `postgres` or no program `setpriv`"
    return None


def _somebody() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return None


def _prefix() -> list[str]:
    user = _somebody()
    if os.geteuid() != 0:
        return []
    assert user is not None
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@contextmanager
def running(**settings: str) -> Iterator[str]:
    """The address of a database of its own."""
    where = programs()
    assert where is not None
    # Not below the tests' own folder: that belongs to root, and nobody else may go through it.
    folder = Path(tempfile.mkdtemp(prefix="backbeat-postgresql-"))
    user = _somebody()
    if os.geteuid() == 0 and user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    try:
        _run(where / "initdb", "-D", folder / "data", "-U", "backbeat", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        port = free_port()
        given = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(folder),
            "fsync": "off",
            "shared_buffers": "512MB",
            "max_wal_size": "4GB",
            **settings,
        }
        options = [word for name, value in given.items() for word in ("-c", f"{name}={value}")]
        command = [*_prefix(), str(where / "postgres"), "-D", str(folder / "data"), *options]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            _wait_until_ready(where, port, process, folder / "log")
            _run(where / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "backbeat", "backbeat")
            yield f"postgresql://backbeat@127.0.0.1:{port}/backbeat"
        finally:
            # It waits for its clients otherwise.
            process.send_signal(signal.SIGINT)
            process.wait(30)
    finally:
        shutil.rmtree(folder)


def _run(*words: object) -> None:
    done = subprocess.run([*_prefix(), *map(str, words)], capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr


def _wait_until_ready(where: Path, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS_MAX
    while subprocess.run([where / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False).returncode:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
