"""A systemd of the test's own: as the first process of namespaces, on an overlay of this machine's files.

It starts nothing but the units that it is given, and nothing that it writes is left.
"""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.waiting import until

SYSTEMD = Path("/lib/systemd/systemd")
HOSTNAME = "app-1"
TARGET = "test.target"
#: Its own group of processes, so that it leaves those of this machine alone.
#: Without what a whole machine starts before everything else, which may hang where there is none.
ALONE = "[Unit]\nDefaultDependencies=no\n"
OUTER = """
set -e
mount --make-rprivate /
mkdir -p groups && mount -t cgroup2 cgroup2 groups
mkdir groups/$NAME
echo 0 > groups/$NAME/cgroup.procs
exec unshare --mount --pid --cgroup --uts --ipc --fork sh inner.sh
"""
INNER = """
set -e
mkdir -p mem && mount -t tmpfs tmpfs mem
mkdir mem/upper mem/work mem/root
mount -t overlay overlay -o lowerdir=/,upperdir=$PWD/mem/upper,workdir=$PWD/mem/work mem/root
cd mem/root
rm -rf etc/systemd/system etc/systemd/network
cp -r $FOLDER/units etc/systemd/system
cp -r $FOLDER/files/. .
echo $HOSTNAME > etc/hostname
hostname $HOSTNAME
mount -t tmpfs tmpfs run
mkdir -p .$FOLDER && mount --bind $FOLDER .$FOLDER
mount --rbind /dev dev
mount --bind $CONSOLE dev/console
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
export container=test
exec chroot . %s --system --unit=%s --log-target=console --show-status=no
"""


class Machine(NamedTuple):
    """A systemd that runs."""

    #: words before a command that run it there
    run: tuple[str, ...]

    def ask(self, *words: str) -> str:
        """The output of a command there."""
        done = subprocess.run([*self.run, *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()


@contextmanager
def systemd(
    folder: Path, units: Mapping[str, str], units_wanted: list[str], files: Mapping[str, str]
) -> Iterator[Machine]:
    """A systemd with these units (by file name), of which it starts some; `files`: by path, on top of this machine's.

    The test is skipped where there is no systemd, or no right to namespaces and mounts.
    """
    if not SYSTEMD.exists() or shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("a systemd of the test's own needs its package, and root")
    for path, text in (
        {f"units/{TARGET}": f"{ALONE}Wants={' '.join(units_wanted)}\n"}.items()
        | {f"units/{name}.d/alone.conf": ALONE for name in units if not name.endswith(".conf")}.items()
        | {f"units/{name}": text for name, text in units.items()}.items()
        | {f"files/{path}": text for path, text in files.items()}.items()
    ):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if path.startswith("files/") else 0o644)
    (folder / "inner.sh").write_text(INNER % (SYSTEMD, TARGET))
    name = f"test-{uuid.uuid4().hex}"
    log = folder / "systemd.log"
    with _console(log) as console, log.open("ab") as output:
        env = {**os.environ, "NAME": name, "FOLDER": str(folder), "HOSTNAME": HOSTNAME, "CONSOLE": console}
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", OUTER], cwd=folder, env=env, stdout=output, stderr=output
        )
        try:
            yield _booted(process, log)
        finally:
            # The end of the first process of its namespace is the end of all.
            for child in psutil.Process(process.pid).children():
                child.kill()
            process.wait(60)
            remove = f"mount -t cgroup2 cgroup2 groups && find groups/{name} -depth -type d -exec rmdir {{}} +"
            subprocess.run(["unshare", "--mount", "sh", "-c", remove], cwd=folder, check=False, capture_output=True)


@contextmanager
def _console(log: Path) -> Iterator[str]:
    """The path of a terminal whose lines go to `log`: as the first process, systemd writes to no file."""
    reader, terminal = pty.openpty()

    def copy() -> None:
        # Its end is an error, once nobody has the other side any more.
        with log.open("ab") as output, suppress(OSError):
            while data := os.read(reader, 4096):
                output.write(data)
                output.flush()

    thread = threading.Thread(target=copy, name="console")
    thread.start()
    try:
        yield os.ttyname(terminal)
    finally:
        os.close(terminal)
        thread.join()
        os.close(reader)


def _booted(process: subprocess.Popen[bytes], log: Path) -> Machine:
    machine = None

    def is_running() -> bool:
        nonlocal machine
        if process.poll() is not None:
            pytest.skip(f"no systemd of the test's own can be started here: {log.read_text()}")
        first = [child for child in psutil.Process(process.pid).children() if child.name() == SYSTEMD.name]
        if not first:
            return False
        machine = Machine(("nsenter", "--target", str(first[0].pid), "--all", "--root", "--wd"))
        return machine.ask("systemctl", "is-active", TARGET) == "active"

    try:
        until(is_running, "systemd has started its target")
    except AssertionError as error:
        jobs = machine.ask("systemctl", "list-jobs") if machine else "it has not begun"
        error.add_note(f"jobs: {jobs}\nconsole:\n{log.read_text(errors='replace')}")
        raise
    assert machine is not None
    return machine
