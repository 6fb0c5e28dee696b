"""A throw-away PostgreSQL, from the distribution's packages, on loopback. It refuses to run as root.

For the benchmark, and for tests of a projection in PostgreSQL.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.local.child_process import ChildProcess, last_lines
from backbeat.compose.local.ports import LOOPBACK, free_port

_START_SECONDS_MAX = 300.0
_STOP_SECONDS_MAX = 30.0
_LOOK_SECONDS = 0.05
#: User that it runs as where we are root: the one that the package makes.
_USER = "postgres"
_NAME = "backbeat"
#: Written data may be lost: it is thrown away anyway.
_SETTINGS = {"fsync": "off", "shared_buffers": "512MB", "max_wal_size": "4GB"}


def why_not() -> str | None:
    """Reason why no PostgreSQL can be started; None: it can."""
    if _programs() is None:
        return "no PostgreSQL is installed (Debian, Ubuntu: apt-get install postgresql)"
    if os.geteuid() == 0 and (_unprivileged_user() is None or shutil.which("setpriv") is None):
        return f"PostgreSQL does not run as root, and there is no user `{_USER}` or no program `setpriv`"
    return None


@contextlib.contextmanager
def postgresql(**settings: str) -> Iterator[str]:
    """The address of an empty database, which is there for as long as this is open. SetupError.

    `settings` are PostgreSQL's own, beside or instead of ours.
    """
    programs = _programs()
    assert programs is not None, "why_not() is asked first"
    folder = Path(tempfile.mkdtemp(prefix="backbeat-postgresql-"))
    try:
        user = _unprivileged_user()
        if os.geteuid() == 0 and user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        data = folder / "data"
        _run(programs / "initdb", "-D", data, "-U", _NAME, "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        port = free_port()
        server_settings = {
            "listen_addresses": LOOPBACK,
            "port": str(port),
            "unix_socket_directories": str(folder),
            **_SETTINGS,
            **settings,
        }
        options = [word for name, value in server_settings.items() for word in ("-c", f"{name}={value}")]
        process = ChildProcess(
            "PostgreSQL",
            # To another user the kernel's promise to end it with us does not carry over: it is asked for again.
            [*_as_unprivileged_user("--pdeathsig=INT"), str(programs / "postgres"), "-D", str(data), *options],
            log_path=folder / "log",
            pid_path=folder / "pid",
            orphan_signal=signal.SIGINT,
        )
        process.start()
        try:
            _wait_until_ready(programs, port, process)
            _run(programs / "createdb", "-h", LOOPBACK, "-p", port, "-U", _NAME, _NAME)
            yield f"postgresql://{_NAME}@{LOOPBACK}:{port}/{_NAME}"
        finally:
            # SIGTERM would have it wait for its clients.
            process.signal(signal.SIGINT)
            process.wait(_STOP_SECONDS_MAX)
            process.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    """Folder of initdb and postgres: of the newest version that is installed."""
    initdbs = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3].partition(".")[0])
    )
    if initdbs:
        return initdbs[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def _unprivileged_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(_USER)
    except KeyError:
        return None


def _as_unprivileged_user(*options: str) -> list[str]:
    user = _unprivileged_user()
    if os.geteuid() != 0 or user is None:
        return []
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *options, "--"]


def _run(*words: object) -> None:
    result = subprocess.run(
        [*_as_unprivileged_user(), *map(str, words)], capture_output=True, text=True, cwd="/", check=False
    )
    if result.returncode:
        raise SetupError(f"{words[0]} failed:\n{last_lines(result.stderr)}")


def _wait_until_ready(programs: Path, port: int, process: ChildProcess) -> None:
    ends_at = time.monotonic() + _START_SECONDS_MAX
    command = [str(programs / "pg_isready"), "-q", "-h", LOOPBACK, "-p", str(port)]
    while subprocess.run(command, check=False).returncode:
        if not process.running or time.monotonic() > ends_at:
            raise SetupError(f"PostgreSQL did not start; its last lines:\n{last_lines(process.output())}")
        time.sleep(_LOOK_SECONDS)
