"""The lock of Kafka's jars and where they come from, other than over HTTP (test_download.py): Maven, and a folder."""

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.local.jars import jars, lock, maven
from backbeat.compose.local.jars.lock import Jar
from tests.compose.local.programs import Programs

BODY = b"a jar"


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """An empty cache, and a lock with one small jar."""
    path = tmp_path / "given" / "shop-1.0.jar"
    path.parent.mkdir()
    path.write_bytes(BODY)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(jars, "JARS", [Jar("org.shop:shop:1.0", len(BODY), lock.digest(path))])
    return path


@pytest.fixture
def programs(tmp_path, monkeypatch):
    programs = Programs(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(programs.folder))
    return programs


def bring(source) -> Path:
    return jars.kafka_jars(lambda _: None, source)


def mvn(version: str = "Apache Maven 3.8.7", then: str = "exit 1") -> str:
    return f'case "$*" in *--version*) echo "{version}";; *) {then};; esac'


# --- The lock and the pom ----------------------------------------------------------------------------------------


def elements(parent: ET.Element, path: str) -> list[tuple[str, str, str]]:
    names = ("groupId", "artifactId", "version")
    return [tuple(element.findtext(f"{{*}}{name}") or "" for name in names) for element in parent.findall(path)]


def test_the_lock_was_made_from_the_pom_as_it_is():
    text = lock.PATH.read_text()
    pom = ET.fromstring(maven.POM.read_text())  # noqa: S314 - our own
    locked = lock.read(text)

    assert f"# pom.xml {lock.digest(maven.POM)}\n" in text, "write it anew: make relock"
    assert lock.write(locked, maven.POM) == text
    dependencies = elements(pom, "{*}dependencies/{*}dependency")
    assert len(dependencies) == 2
    assert {":".join(coordinates) for coordinates in dependencies} <= {jar.coordinates for jar in locked}
    for group, artifact, _ in elements(pom, ".//{*}exclusion"):
        left_out = re.compile(f"{re.escape(group)}:{'.*' if artifact == '*' else re.escape(artifact)}:")
        assert not [jar for jar in locked if left_out.match(jar.coordinates)]


def test_the_lock_has_what_a_broker_needs_and_is_small():
    locked = lock.read(lock.PATH.read_text())

    assert lock.version(locked) == jars.KAFKA_VERSION
    assert len({jar.name for jar in locked}) == len(locked)
    artifacts = {jar.coordinates.split(":")[1] for jar in locked}
    # Logs, each kind of compression, share groups, and what tiered storage is loaded with.
    assert {"log4j-core", "lz4-java", "snappy-java", "zstd-jni", "kafka-share-coordinator", "caffeine"} <= artifacts
    assert sum(jar.size for jar in locked) < 45_000_000


def test_a_jar_has_its_place_in_a_repository(tmp_path):
    path = tmp_path / "org" / "apache" / "kafka" / "kafka_2.13" / "4.4.0" / "kafka_2.13-4.4.0.jar"
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)

    jar = Jar.at(tmp_path, path)

    assert (jar.coordinates, jar.size) == ("org.apache.kafka:kafka_2.13:4.4.0", len(BODY))
    assert tmp_path / jar.path == path
    assert jar.is_at(path)
    path.write_bytes(b"A jar")
    assert not jar.is_at(path)


# --- Maven -------------------------------------------------------------------------------------------------------


def test_jars_are_brought_by_maven(programs, small):
    copies = f"for one in $*; do case $one in -DoutputDirectory=*) cp {small} ${{one#-DoutputDirectory=}};; esac; done"
    programs.put("mvn", mvn(then=copies))

    folder = bring(jars.from_maven)

    assert [path.read_bytes() for path in folder.iterdir()] == [BODY]


def test_maven_that_brings_something_else_is_refused(programs, small):
    copies = f"for one in $*; do case $one in -DoutputDirectory=*) cp {small} ${{one#-DoutputDirectory=}};; esac; done"
    small.write_bytes(b"another jar")
    programs.put("mvn", mvn(then=copies))

    with pytest.raises(SetupError, match=r"not as kafka-jars\.lock names them: shop-1\.0\.jar"):
        bring(jars.from_maven)

    assert not jars.jars_folder().exists()


def test_maven_missing(programs):
    with pytest.raises(SetupError, match=r"Maven is missing: .* no `mvn` on the PATH\. What to do: install Maven"):
        bring(jars.from_maven)


def test_maven_too_old(programs):
    programs.put("mvn", mvn("Apache Maven 3.5.4 (1edded0)"))

    with pytest.raises(SetupError, match=r"Maven is too old: .* is Apache Maven 3.5.4, wanted 3.6.3 or newer"):
        bring(jars.from_maven)


def test_maven_that_cannot_fetch_says_why(programs):
    programs.put("mvn", mvn(then='echo "[ERROR] Unknown host"; exit 1'))

    with pytest.raises(SetupError, match=r"(?s)could not resolve .*\[ERROR\] Unknown host"):
        bring(jars.from_maven)

    assert not jars.jars_folder().exists()


# --- A folder ----------------------------------------------------------------------------------------------------


def test_a_folder_brings_them_without_a_network(small):
    (small.parent / "more.jar").touch()

    folder = bring(jars.from_folder(small.parent))

    assert [path.name for path in folder.iterdir()] == [small.name]
    shutil.rmtree(small.parent)
    assert bring(jars.from_folder(small.parent)) == folder


@pytest.mark.parametrize("content", [b"A jar", b"a ja", None])
def test_a_folder_that_lacks_one_or_has_another_is_refused(small, content):
    if content is None:
        small.unlink()
    else:
        small.write_bytes(content)

    with pytest.raises(
        SetupError, match=r"missing or different are 1 of 1: shop-1\.0\.jar\. What to do: copy the folder"
    ):
        bring(jars.from_folder(small.parent))

    assert not jars.jars_folder().exists()
