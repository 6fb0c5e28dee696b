"""Small file systems in memory, for plays that fill a disk: only where this user may mount one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def mount_disk(folder: Path, mebibytes: int) -> bool:
    """Mount an empty file system of this size at a folder. False: it may not be done here; the folder is there."""
    folder.mkdir(parents=True, exist_ok=True)
    program = shutil.which("mount")
    if program is None:
        return False
    command = [program, "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def unmount_disk(folder: Path) -> None:
    """Take it away again, and what it holds. CalledProcessError: it cannot be."""
    program = shutil.which("umount")
    assert program is not None, "whoever mounts can unmount"
    subprocess.run([program, "-l", str(folder)], check=True)
