"""What lies in compose/deploy/docker, …/monitoring, …/systemd and …/kubernetes, read as the tools read it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
DOCKER = ROOT / "compose" / "deploy" / "docker"
MONITORING = ROOT / "compose" / "deploy" / "monitoring"
SYSTEMD = ROOT / "compose" / "deploy" / "systemd"
KUBERNETES = ROOT / "compose" / "deploy" / "kubernetes"

TRYING = DOCKER / "compose.yaml"
STAGING = DOCKER / "compose.staging.yaml"
#: What an operator fills in (staging.env.example).
PASSWORDS = {"BACKBEAT_POSTGRES_PASSWORD": "not-a-real-one", "GRAFANA_PASSWORD": "not-a-real-one"}

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def read(path: Path, given: Mapping[str, str] = PASSWORDS) -> dict[str, Any]:
    """A compose file, with these variables put in as docker compose puts them in."""

    def value(match: re.Match[str]) -> str:
        name, how, otherwise = match.groups()
        if name in given:
            return given[name]
        assert how == "-", f"{path.name}: {name} has no value: {otherwise}"
        return otherwise

    return yaml.safe_load(_VARIABLE.sub(value, path.read_text()))


def services(path: Path, given: Mapping[str, str] = PASSWORDS) -> dict[str, dict[str, Any]]:
    """The services of a compose file, by name."""
    return read(path, given)["services"]


def dockerfile() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order: (word, the rest), continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.strip().partition(" ") for line in lines) if word]


def image() -> dict[str, Any]:
    """What the image's last stage says: ENTRYPOINT and the health check as lists, ENV as a mapping."""
    instructions: dict[str, Any] = {"ENV": {}}
    for word, rest in dockerfile():
        if word == "FROM":
            instructions = {"ENV": {}}
        elif word == "ENV":
            instructions["ENV"] |= dict(re.findall(r"(\w+)=(\S+)", rest))
        elif word == "HEALTHCHECK":
            instructions[word] = json.loads(rest.partition("CMD ")[2])
        elif word in {"ENTRYPOINT", "CMD"}:
            instructions[word] = json.loads(rest)
        else:
            instructions[word] = rest
    return instructions


def alerts() -> list[dict[str, Any]]:
    """Every alert rule."""
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """The Grafana dashboard."""
    return json.loads((MONITORING / "grafana" / "dashboards" / "backbeat.json").read_text())
