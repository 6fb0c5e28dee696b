"""What `make setup` shows while pip works: how far it is; and what pip says where it fails."""

import queue
import re
import subprocess
import sys
from pathlib import Path

from backbeat.compose.cli.show import progress
from backbeat.compose.cli.show.progress import Progress
from backbeat.compose.setup import install

ROOT = Path(__file__).parents[3]


def test_what_pip_cannot_do_is_shown_and_ends_it(tmp_path, monkeypatch, capfd):
    (tmp_path / "requirements-lock.txt").write_text("no-such-package==1.0 \\\n    --hash=sha256:00\n")
    monkeypatch.setattr(install, "ROOT", tmp_path)
    # There is no index to ask: nothing leaves this machine.
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    assert install.main([]) == 1

    output, reason = capfd.readouterr()
    assert output == "Installing 1 Python packages …\n"
    assert reason.startswith("pip ended with exit code 1:\nERROR: Could not find a version")


def test_it_imports_nothing_that_has_to_be_installed_first():
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import compose.setup.install",
    ]

    subprocess.run(command, check=True)


def test_without_a_terminal_a_line_says_every_now_and_then_how_far_it_is(monkeypatch):
    monkeypatch.setattr(progress, "_LINES_SECONDS", 0.001)
    lines: queue.Queue[str] = queue.Queue()

    with Progress("1 of 3 jars", lines.put) as line:
        first = lines.get(timeout=60)
        line.show("2 of 3 jars")
        second = next(text for text in iter(lambda: lines.get(timeout=60), "") if not text.startswith("  1 of 3"))

    assert re.fullmatch(r"  1 of 3 jars, \d+ s", first)
    assert re.fullmatch(r"  2 of 3 jars, \d+ s", second)
