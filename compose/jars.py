"""Apache Kafka's jars: resolved once by Maven into a cache folder, found there ever after.

The pom beside this file says which version. The folder appears by a rename once it is whole, so an interrupted
download leaves nothing half done, and two that resolve at once do not disturb each other.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from backbeat.compose.errors import SetupError

KAFKA_VERSION = "4.4.0"
#: The oldest Java that Kafka 4 runs on, and the oldest Maven that the pinned plugin runs on.
JAVA_MAJOR_MIN = 17
MAVEN_VERSION_MIN = (3, 6, 3)

_POM = Path(__file__).with_name("pom.xml")
_ASK_SECONDS_MAX = 30
_RESOLVE_SECONDS_MAX = 900
_HINT_JAVA = (
    "install a JDK 17 or newer (Debian, Ubuntu: apt-get install openjdk-17-jdk-headless; "
    "macOS: brew install openjdk@17), or use a Kafka that is already there with --bootstrap-servers"
)
_HINT_MAVEN = "install Maven 3.6.3 or newer (Debian, Ubuntu: apt-get install maven; macOS: brew install maven)"

Say = Callable[[str], None]


def cache_folder() -> Path:
    """Where things that can be fetched again are kept: $XDG_CACHE_HOME/backbeat, else ~/.cache/backbeat."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "backbeat"


def jars_folder() -> Path:
    """The folder of this version's jars, whether it is there yet or not.

    The pom's digest is in the name: a changed pom resolves anew and never changes the folder under a running broker.
    """
    digest = hashlib.sha256(_POM.read_bytes()).hexdigest()[:8]
    return cache_folder() / f"kafka-{KAFKA_VERSION}-{digest}"


def java_command() -> str:
    """The Java to run, checked: the one of JAVA_HOME, else the first on the PATH."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else (shutil.which("java") or "")
    if not java or not os.access(java, os.X_OK):
        where = f"JAVA_HOME is {home}, and there is no bin/java in it" if home else "there is no `java` on the PATH"
        raise SetupError(f"Java is missing: {where}. What to do: {_HINT_JAVA}.")
    answer = _ask([java, "-version"], "Java", _HINT_JAVA)
    found = re.search(r'version "(?:1\.)?(\d+)', answer)
    if found is None:
        raise SetupError(f"Java does not say its version: `{java} -version` printed {answer!r}. To do: {_HINT_JAVA}.")
    if int(found[1]) < JAVA_MAJOR_MIN:
        raise SetupError(
            f"Java is too old: {java} is version {found[1]}, Kafka {KAFKA_VERSION} needs {JAVA_MAJOR_MIN} or newer. "
            f"What to do: {_HINT_JAVA}."
        )
    return java


def kafka_jars(say: Say = print) -> Path:
    """The folder with Kafka's jars; resolves them first where it is not there yet, which `say` tells."""
    folder = jars_folder()
    if folder.is_dir():
        return folder
    java_command()
    maven = _maven_command()
    folder.parent.mkdir(parents=True, exist_ok=True)
    say(f"Fetching Apache Kafka {KAFKA_VERSION} with Maven into {folder} (once, about 45 MB) …")
    started = time.monotonic()
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _resolve(maven, unfinished)
        count = sum(1 for _ in unfinished.glob("*.jar"))
        if not (unfinished / f"kafka_2.13-{KAFKA_VERSION}.jar").is_file():
            raise SetupError(f"Maven ended well, but Kafka's jar is not among the {count} that it brought.")
        _put_in_place(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    say(f"Apache Kafka {KAFKA_VERSION} is there: {count} jars in {time.monotonic() - started:.0f} s.")
    return folder


def _put_in_place(unfinished: Path, folder: Path) -> None:
    unfinished.chmod(0o755)  # mkdtemp's folder is for its owner alone; a cache need not be
    try:
        unfinished.rename(folder)
    except OSError:
        # Another process was faster: its folder is as good as ours.
        if not folder.is_dir():
            raise


def _maven_command() -> str:
    maven = shutil.which("mvn")
    if maven is None:
        raise SetupError(f"Maven is missing: there is no `mvn` on the PATH. What to do: {_HINT_MAVEN}.")
    answer = _ask([maven, "--batch-mode", "--version"], "Maven", _HINT_MAVEN)
    found = re.search(r"Apache Maven (\d+)\.(\d+)\.(\d+)", answer)
    if found is None:
        raise SetupError(f"Maven does not say its version: `{maven} --version` printed {answer!r}. {_HINT_MAVEN}.")
    version = tuple(int(part) for part in found.groups())
    if version < MAVEN_VERSION_MIN:
        wanted = ".".join(map(str, MAVEN_VERSION_MIN))
        raise SetupError(f"Maven is too old: {maven} is {found[0]}, wanted {wanted} or newer. To do: {_HINT_MAVEN}.")
    return maven


def _ask(command: list[str], name: str, hint: str) -> str:
    """What a program says about itself, wherever it says it (Java uses its standard error)."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS_MAX, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"{name} cannot be run: {error}. What to do: {hint}.") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise SetupError(f"{name} cannot be run: `{' '.join(command)}` ended with {said!r}. What to do: {hint}.")
    return f"{done.stdout}\n{done.stderr}"


def _resolve(maven: str, folder: Path) -> None:
    command = [
        maven,
        "--batch-mode",
        f"--file={_POM}",
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={folder}",
    ]
    lines: list[str] = []
    started = time.monotonic()
    with (
        # From the cache folder: a .mvn folder of whatever project the caller stands in is none of our business.
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", cwd=folder.parent
        ) as process,
        _Line() as line,
    ):
        assert process.stdout is not None
        try:
            for text in process.stdout:
                lines.append(text.rstrip())
                files = sum(1 for one in lines if "Downloaded from" in one)
                line.show(f"  {files} files fetched, {time.monotonic() - started:.0f} s")
                if time.monotonic() - started > _RESOLVE_SECONDS_MAX:
                    process.kill()
        except BaseException:
            # Ctrl-C: it must not go on writing into a folder that is being removed.
            process.kill()
            raise
    if process.returncode != 0:
        reason = "\n".join([one for one in lines if one.startswith("[ERROR]")][:6] or lines[-6:])
        raise SetupError(
            f"Maven could not resolve Apache Kafka {KAFKA_VERSION} (exit code {process.returncode}):\n{reason}\n"
            "What to do: see that this machine reaches its Maven repository (mirrors and proxies: ~/.m2/settings.xml)."
        )


class _Line:
    """One line on a terminal that is written over; nothing where there is no terminal."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._on:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def show(self, text: str) -> None:
        """Write over what the line showed."""
        if self._on:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
