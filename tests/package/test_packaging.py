"""The distribution: what `pip install backbeat` brings, and that nothing is left out of it."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from backbeat.compose.local.ports import free_port, port_is_free
from tests.gateway.api.door import Door
from tests.waiting import until

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
#: Folders of compose/ that the wheel does not have.
OF_A_CHECKOUT = {"bench", "demo", "setup"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from what git would hand over (build leftovers of the checkout do not get in)."""
    source = tmp_path_factory.mktemp("source")
    for name in ["pyproject.toml", "LICENSE", "README.md", *set(PROJECT["tool"]["setuptools"]["package-dir"].values())]:
        if "/" not in name:
            (source / name).symlink_to(ROOT / name)
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def empty_environment(wheel, tmp_path_factory):
    """An environment with the wheel and what it asks for, without any extra."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    # This environment's pip, working for that one: an empty one need not get its own first.
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-warn-script-location"]
    # The versions that the lock file has pinned; its hashes are checked where it is installed.
    locked = re.findall(r"^([a-z0-9-]+==[^ ;\\]+)", (ROOT / "requirements-lock.txt").read_text(), re.MULTILINE)
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(locked))
    command += ["--constraint", str(constraints), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def run(environment, *arguments, **variables):
    return subprocess.run(
        [environment / "bin" / arguments[0], *arguments[1:]],
        capture_output=True,
        text=True,
        check=False,
        cwd=environment,
        env={"PATH": "/usr/bin:/bin", **variables},
    )


def test_sdk_alone_brings_in_neither_engine_nor_gateway(empty_environment):
    code = (
        "import sys, backbeat, backbeat.testing; backbeat.Client; backbeat.Worker; backbeat.testing.Backbeat();"
        "print(sorted({'faust', 'aiohttp', 'aiokafka', 'rocksdict', 'click', 'rich'} & set(sys.modules)))"
    )

    done = run(empty_environment, "python", "-W", "error", "-c", code)

    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_command_line_says_which_extra_is_missing(empty_environment):
    for command, extra in (("engine", "engine"), ("dev", "dev-server"), ("worker", "worker"), ("init", "worker")):
        done = run(empty_environment, "backbeat", command)

        assert done.returncode == 1
        assert f"pip install 'backbeat[{extra}]'" in done.stderr


def test_what_only_a_checkout_runs_is_not_in_the_wheel(wheel):
    folders = {name.rpartition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert {f"backbeat/compose/{name}" for name in OF_A_CHECKOUT} & folders == set()


@pytest.mark.parametrize("command", ["bench", "demo"])
def test_a_command_of_the_repository_says_where_it_is(empty_environment, command):
    message = f"`backbeat {command}` is not part of the installed package.\nWhat to do: run `make {command}` in a clone"
    # Without the command line's packages, and with them.
    assert message in run(empty_environment, "backbeat", command).stderr
    packages = {"PYTHONPATH": sysconfig.get_path("purelib")}
    done = run(empty_environment, "backbeat", "--profile", "default", command, **packages)
    assert (done.returncode, done.stderr.count(message)) == (1, 1), done.stderr
    lists = run(empty_environment, "backbeat", "--help", **packages)
    assert re.search(r"^  dev  ", lists.stdout, re.MULTILINE), lists.stderr
    assert not re.search(rf"\b{command}\b", lists.stdout)


def test_wheel_has_all_that_is_not_python(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())

    files = (
        "py.typed",
        "schemas/fingerprints.json",
        "compose/local/jars/pom.xml",
        "compose/local/jars/kafka-jars.lock",
        "compose/local/log4j2.xml",
        "compose/drill/faults/clock.c",
    )
    expected = {f"backbeat/{name}" for name in files}
    expected |= {f"backbeat/{path.relative_to(ROOT)}" for path in (ROOT / "compose" / "first_project").glob("*.*")}
    expected |= {"backbeat/compose/first_project/gitignore"}
    expected |= {f"backbeat/{path.relative_to(ROOT)}" for path in (ROOT / "schemas").rglob("*.avsc")}
    assert expected - names == set()


def test_a_gateway_of_the_wheel_shows_its_console(wheel, tmp_path):
    """With the packages of this environment, and of the project itself what the wheel has; without a Kafka."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    port = free_port()
    command = [sys.executable, "-m", "backbeat.compose", "gateway", "--ui=on", "--ui-login=none", f"--http-port={port}"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    gateway = subprocess.Popen(
        [*command, "--bootstrap-servers=127.0.0.1:1"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    )
    try:
        door = Door(f"http://127.0.0.1:{port}")
        until(lambda: not port_is_free(port), "the gateway listens")
        page = door.get("/ui/")
        assert page.status == 200
        assert "Kafka" in page.text
        (style,) = re.findall(r'href="\./(static/[^"]+[.]css)"', page.text)
        assert door.get(f"/ui/{style}").headers["content-type"] == "text/css; charset=utf-8"
        assert door.get("/ui/nodes").status == 200
        assert door.get("/ui/system").status == 200
    finally:
        gateway.terminate()
        gateway.wait(60)
    loaded = subprocess.run(
        [sys.executable, "-c", "import backbeat.gateway.console as c; print(c.__file__)"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.startswith(str(tmp_path))


def test_every_other_folder_with_python_is_a_package_of_the_distribution():
    packages = set()
    for package, folder in PROJECT["tool"]["setuptools"]["package-dir"].items():
        for path in (ROOT / folder).rglob("*.py"):
            packages.add(".".join((package, *path.parent.relative_to(ROOT / folder).parts)))

    of_a_checkout = tuple(f"backbeat.compose.{name}." for name in OF_A_CHECKOUT)
    expected = {name for name in packages if not f"{name}.".startswith(of_a_checkout)}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == expected


def test_lock_file_pins_with_hashes_and_names_no_index():
    lock = (ROOT / "requirements-lock.txt").read_text()
    entries = [entry for entry in re.split(r"\n(?=[a-z])", lock) if not entry.startswith("#")]

    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
    assert "://" not in lock
    assert not re.search(r"^-", lock, re.MULTILINE)
    for pinned in ("aiokafka==0.14.0", "confluent-kafka==2.16.1", "faust-streaming==0.15.3", "rocksdict==0.3.29"):
        assert f"\n{pinned} " in lock
