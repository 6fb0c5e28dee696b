"""Kafka's jars by Maven, for those who prefer it: its mirrors, proxies and credentials are Maven's own settings."""

import re
import shutil
import subprocess
from pathlib import Path

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.show.progress import Progress, Say

POM = Path(__file__).with_name("pom.xml")
#: Oldest version that the pinned plugin runs on.
VERSION_MIN = (3, 6, 3)

_ANSWER_SECONDS_MAX = 60
_SECONDS_MAX = 900
_HINT = "install Maven 3.6.3 or newer (Debian, Ubuntu: apt-get install maven; macOS: brew install maven)"


def copy_jars(folder: Path, say: Say, *, layout: bool = False) -> None:
    """Let Maven put the jars of the pom into a folder; `layout`: laid out as a repository is."""
    command = [
        _command(),
        "--batch-mode",
        f"--file={POM}",
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-Dmdep.useRepositoryLayout={str(layout).lower()}",
        f"-DoutputDirectory={folder}",
    ]
    lines: list[str] = []
    with (
        Progress("Maven", say) as progress,
        # From that folder: a .mvn folder of whatever project the caller stands in is none of our business.
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", cwd=folder
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for text in process.stdout:
                lines.append(text.rstrip())
                progress.show(f"Maven: {sum('Downloaded from' in line for line in lines)} files fetched")
                if progress.seconds > _SECONDS_MAX:
                    process.kill()
        except BaseException:
            # Ctrl-C: it must not go on writing into a folder that may be removed.
            process.kill()
            raise
    if process.returncode != 0:
        reason = "\n".join([line for line in lines if line.startswith("[ERROR]")][:6] or lines[-6:])
        raise SetupError(
            f"Maven could not resolve Kafka's jars (exit code {process.returncode}):\n{reason}\n"
            "What to do: see that this machine reaches its Maven repository (mirrors and proxies: ~/.m2/settings.xml)."
        )


def _command() -> str:
    maven = shutil.which("mvn")
    if maven is None:
        raise SetupError(f"Maven is missing: there is no `mvn` on the PATH. What to do: {_HINT}.")
    command = [maven, "--batch-mode", "--version"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS_MAX, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"Maven cannot be run: {error}. What to do: {_HINT}.") from error
    output = f"{result.stdout}{result.stderr}".strip()
    version = re.search(r"Apache Maven (\d+)\.(\d+)\.(\d+)", output)
    if result.returncode != 0 or version is None:
        raise SetupError(f"Maven cannot be run: `{' '.join(command)}` printed {output!r}. What to do: {_HINT}.")
    if tuple(map(int, version.groups())) < VERSION_MIN:
        version_min = ".".join(map(str, VERSION_MIN))
        raise SetupError(
            f"Maven is too old: {maven} is {version[0]}, wanted {version_min} or newer. What to do: {_HINT}."
        )
    return maven
