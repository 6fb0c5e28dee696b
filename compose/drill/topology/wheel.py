"""Version before: a wheel of an earlier Backbeat in an environment of its own, for plays that upgrade.

What Backbeat needs comes from the environment of this process: a wheel that needs other versions of it cannot run here.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.local.child_process import last_lines

#: Knob of a service that may be of the version before: a file that names the Python with which it starts.
PYTHON_KNOB = "python"
#: Runs the Python that a file names, with the words behind it.
_LAUNCH = 'exec "$(cat "$0")" "$@"'


def install_wheel(wheel: Path, folder: Path) -> Path:
    """Install a wheel into a new environment in a folder; its Python. SetupError: it cannot be."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    result = subprocess.run([*command, str(wheel)], capture_output=True, text=True, check=False)
    if result.returncode:
        raise SetupError(
            f"{wheel} cannot be installed:\n{last_lines(result.stderr)}\nWhat to do: give the wheel of an earlier "
            "release, or build one where that is checked out: pip wheel --no-deps ."
        )
    # A line of a .pth file adds that folder alone, and not what its own .pth files say: this Backbeat is not among it.
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "rest.pth").write_text(sysconfig.get_paths()["purelib"])
    result = subprocess.run([python, "-m", "backbeat.compose", "--help"], capture_output=True, text=True, check=False)
    if result.returncode:
        raise SetupError(f"the Backbeat of {wheel} does not start here:\n{last_lines(result.stderr)}")
    return python


def by_knob(command: Sequence[str], python: Path, knob: Path) -> list[str]:
    """The command with the Python that a knob names at each start: at first this one."""
    knob.write_text(str(python))
    return ["sh", "-c", _LAUNCH, str(knob), *command[1:]]
