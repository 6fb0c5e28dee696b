"""Java, Maven and the cache folder: found, missing, too old."""

import re
import stat
import threading
from pathlib import Path

import pytest

from backbeat.compose import jars
from backbeat.compose.errors import SetupError

JAVA_17 = "echo 'openjdk version \"17.0.9\" 2023-10-17' >&2"
MAVEN_3_8 = 'echo "Apache Maven 3.8.7"'
# Puts the jar where the real one puts it: the folder is the last argument.
MAVEN_FETCHES = (
    f'case "$*" in *--version*) {MAVEN_3_8};;'
    " *) for one in $*; do case $one in -DoutputDirectory=*)"
    f" touch ${{one#-DoutputDirectory=}}/kafka_2.13-{jars.KAFKA_VERSION}.jar;; esac; done;; esac"
)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A PATH with nothing but a shell and what a test puts there; a cache folder of its own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "touch"):
        (folder / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def put(name: str, script: str) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return put


def test_java_missing(programs):
    with pytest.raises(SetupError, match=r"Java is missing: .* no `java` on the PATH\. What to do: install a JDK"):
        jars.java_command()


def test_java_home_without_java(programs, tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nothing"))

    with pytest.raises(SetupError, match=r"JAVA_HOME is .*nothing, and there is no bin/java in it"):
        jars.java_command()


@pytest.mark.parametrize(
    ("said", "version"), [('java version "1.8.0_392"', "8"), ('openjdk version "11.0.21" 2023-10-17', "11")]
)
def test_java_too_old(programs, said, version):
    programs("java", f"echo '{said}' >&2")

    with pytest.raises(SetupError, match=rf"Java is too old: .* is version {version}, Kafka .* needs 17 or newer"):
        jars.java_command()


@pytest.mark.parametrize("said", ['openjdk version "17.0.9"', 'openjdk version "21" 2023-09-19', 'version "25-ea"'])
def test_java_new_enough(programs, said):
    programs("java", f"echo '{said}' >&2")

    assert jars.java_command().endswith("/java")


def test_java_that_does_not_run(programs):
    programs("java", "echo 'no runtime present' >&2; exit 1")

    with pytest.raises(SetupError, match=r"Java cannot be run: .*no runtime present"):
        jars.java_command()


def test_maven_missing(programs):
    programs("java", JAVA_17)

    with pytest.raises(SetupError, match=r"Maven is missing: .* no `mvn` on the PATH\. What to do: install Maven"):
        jars.kafka_jars()


def test_maven_too_old(programs):
    programs("java", JAVA_17)
    programs("mvn", 'echo "Apache Maven 3.5.4 (1edded0)"')

    with pytest.raises(SetupError, match=r"Maven is too old: .* is Apache Maven 3.5.4, wanted 3.6.3 or newer"):
        jars.kafka_jars()


def test_maven_that_cannot_fetch_says_why_and_leaves_nothing_behind(programs):
    programs("java", JAVA_17)
    programs("mvn", f'case "$*" in *--version*) {MAVEN_3_8};; *) echo "[ERROR] Unknown host"; exit 1;; esac')

    with pytest.raises(SetupError, match=r"(?s)could not resolve .*\[ERROR\] Unknown host"):
        jars.kafka_jars(lambda _: None)

    assert list(jars.cache_folder().iterdir()) == []


def test_jars_are_fetched_once_and_said_so(programs):
    programs("java", JAVA_17)
    programs("mvn", MAVEN_FETCHES)
    said = []

    first = jars.kafka_jars(said.append)
    programs("mvn", "exit 1")
    second = jars.kafka_jars(said.append)

    assert first == second == jars.jars_folder()
    assert [path.name for path in first.iterdir()] == [f"kafka_2.13-{jars.KAFKA_VERSION}.jar"]
    assert [line.split()[0] for line in said] == ["Fetching", "Apache"]


def test_two_that_fetch_at_once_end_with_one_folder(programs):
    programs("java", JAVA_17)
    programs("mvn", MAVEN_FETCHES)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(jars.kafka_jars(lambda _: None))) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [jars.jars_folder()] * 4
    assert list(jars.cache_folder().iterdir()) == [jars.jars_folder()]


def test_pom_names_the_version_that_the_folder_has():
    pom = Path(jars.__file__).with_name("pom.xml").read_text()

    assert re.search(r"<artifactId>kafka_2\.13</artifactId>\s*<version>(.*)</version>", pom)[1] == jars.KAFKA_VERSION
