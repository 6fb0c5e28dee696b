"""A host's clock for one process: a library loaded before all others, which adds what a file says (clock.c)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

#: Names the file for the library. Not one of ours: engines name what they do not read.
CLOCK_VARIABLE = "DRILL_CLOCK"
_SOURCE = Path(__file__).with_name("clock.c")


def build_clock(library: Path) -> Path | None:
    """The library, compiled on the spot. None: not here (another system than Linux, or no C compiler)."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not sys.platform.startswith("linux") or compiler is None:
        return None
    if not library.exists():
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl"]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return None
    return library
