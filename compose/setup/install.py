"""Installation into a new virtual environment, run by `make`: pip, with one line of progress.

    .venv/bin/python -m compose.setup.install --extra dev-server --project  (what the demo needs, and this project)
    .venv/bin/python -m compose.setup.install                               (all of the lock file)

Standard library only: nothing else is there yet. pip alone is either silent for a minute or has 700 lines to say.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence

from ..cli.show.progress import Progress  # noqa: TID252 - the package is not installed yet
from .requirements import ROOT, select

_PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar=off"]
_UNITS = {"kB": 1e-3, "MB": 1.0}
_TAIL_LINES = 15


def main(words: Sequence[str] | None = None) -> int:
    """Install the lock file's packages, all or for some extras, and this project, editable; pip's exit code."""
    parser = argparse.ArgumentParser(prog="install")
    parser.add_argument("--extra", action="append", help="only what this extra needs")
    parser.add_argument("--project", action="store_true", help="this project, too")
    arguments = parser.parse_args(words)
    lock = (ROOT / "requirements-lock.txt").read_text()
    if arguments.extra:
        # The packages that build the project are none of its dependencies.
        lock = select(lock, tomllib.loads((ROOT / "pyproject.toml").read_text()), arguments.extra, ["setuptools"])
    package_count = len(re.findall(r"^[A-Za-z0-9].*==", lock, re.MULTILINE))
    print(f"Installing {package_count} Python packages …", flush=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file, Progress("asking pip", _say) as progress:
        file.write(lock)
        file.flush()
        # Not compiled: most modules are never imported, and those that are Python compiles when they are.
        code = _run([*_PIP, "--no-compile", "--require-hashes", "-r", file.name], package_count, progress)
        if code == 0 and arguments.project:
            progress.show("installing this project")
            code = _run([*_PIP, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], package_count, progress)
    if code == 0:
        print(f"Installed, in {progress.seconds:.0f} s.")
    return code


def _run(command: list[str], package_count: int, progress: Progress) -> int:
    lines: list[str] = []
    collected, megabytes = 0, 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            collected += line.startswith("Collecting ")
            if size := re.search(r"^ +Downloading .* \(([\d.]+) (kB|MB)\)", line):
                megabytes += float(size[1]) * _UNITS[size[2]]
            if line.startswith("Installing collected packages"):
                progress.show(f"installing {collected} packages")
            elif 0 < collected < package_count:
                progress.show(f"{collected} of {package_count} packages, {megabytes:.0f} MB fetched")
    if process.returncode != 0:
        reason = [line for line in lines if line.startswith(("ERROR", "error"))] or lines[-_TAIL_LINES:]
        sys.stderr.write(f"pip ended with exit code {process.returncode}:\n{''.join(reason)}")
    return process.returncode


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
