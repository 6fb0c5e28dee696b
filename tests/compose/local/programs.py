"""Programs that are not what they seem: a PATH with nothing but what a test puts there."""

from __future__ import annotations

import stat
from pathlib import Path


class Programs:
    """A folder for the PATH: a shell, and scripts by name."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        for name in ("sh", "cp"):
            (folder / name).symlink_to(f"/bin/{name}")

    def put(self, name: str, script: str) -> Path:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path
