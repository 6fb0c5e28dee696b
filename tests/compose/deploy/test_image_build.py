"""The Dockerfile's first stage for real: its RUN lines one after another, in a directory instead of an image."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.compose.deploy.files import ROOT, dockerfile

pytestmark = [pytest.mark.prove]
#: What .dockerignore lets through; what is in them and ignored is no part of the package.
SOURCES = ["compose", "gateway", "schemas", "sdk", "streams"]
FILES = ["LICENSE", "README.md", "pyproject.toml", "requirements-lock.txt"]


def test_the_environment_is_made_from_the_lock_file_and_its_programs_run(tmp_path):
    words = [word for word, _ in dockerfile()]
    first = dockerfile()[: len(words) - 1 - words[::-1].index("FROM")]
    source = tmp_path / "source"
    source.mkdir()
    for name in SOURCES:
        shutil.copytree(ROOT / name, source / name)
    for name in FILES:
        shutil.copy(ROOT / name, source / name)

    for line in (rest for word, rest in first if word == "RUN"):
        here = line.replace("/opt/", f"{tmp_path}/opt/").replace("python compose", f"{sys.executable} compose")
        here = here.replace("python -m", f"{sys.executable} -m")
        done = subprocess.run(["sh", "-euxc", here], cwd=source, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    for command in ("engine", "gateway", "projection"):
        program = tmp_path / "opt" / "backbeat" / "bin" / "backbeat"
        done = subprocess.run([program, command, "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
