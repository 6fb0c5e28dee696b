"""Services of systemd: units of a host, as `systemctl show` tells them."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import NamedTuple

import msgspec

from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Host, TopologyError

_PROPERTIES = ("Id", "ActiveState", "MainPID", "ExecStart", "Environment", "Requires", "BindsTo", "Wants")
#: A unit that was stopped by hand is no part of the installation.
_STOPPED = "inactive"
_ASK_SECONDS_MAX = 30.0
_SUFFIX = ".service"
#: Programs of Kafka's packages, and names that units of a broker have.
_BROKERS = ("kafka-server-start", "kafka.service", "confluent-server", "confluent-kafka")
_PORTS = {"engine": "BACKBEAT_STATUS_PORT", "projection": "BACKBEAT_STATUS_PORT", "gateway": "BACKBEAT_HTTP_PORT"}
_DATA_DIR = "BACKBEAT_DATA_DIR"


class Units(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Units of a host whose names fit a pattern: `backbeat-*`."""

    pattern: str
    #: name of a [[host]]; empty: this one
    host: str = ""


class Unit(NamedTuple):
    """A unit, and the values of its properties."""

    name: str
    properties: Mapping[str, str]
    #: of its process where it can be read, with the values of its EnvironmentFile; else what the unit itself sets
    environment: Mapping[str, str]


def discover_units(units: Units, host: Host) -> list[Service]:
    """The services of a host's units, but for those that were stopped. TopologyError: none, or they cannot be read."""
    names = f"--property={','.join(_PROPERTIES)}"
    text = _run(
        host,
        "systemctl",
        "show",
        "--all",
        "--type=service",
        names,
        "--",
        f"{units.pattern.removesuffix(_SUFFIX)}{_SUFFIX}",
    )
    running = [
        Unit(properties["Id"].removesuffix(_SUFFIX), properties, _environment(host, properties))
        for properties in parse_properties(text)
        if properties.get("ActiveState", _STOPPED) != _STOPPED
    ]
    if not running:
        raise TopologyError(
            f"no unit of {host.name} that fits {units.pattern!r} runs. What to do: look at "
            f"`{shlex.join([*host.run, 'systemctl', 'list-units', '--all', units.pattern])}`."
        )
    unit_names = {unit.name for unit in running}
    return [_service(unit, units.host, host, unit_names) for unit in sorted(running)]


def parse_properties(text: str) -> Iterator[dict[str, str]]:
    """The properties of each unit in an answer of `systemctl show`."""
    for block in text.split("\n\n"):
        properties = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in properties:
            yield properties


def _service(unit: Unit, place: str, host: Host, names: set[str]) -> Service:
    role = _role(unit)
    port = unit.environment.get(_PORTS.get(role, ""), "")
    needs = " ".join(unit.properties.get(name, "") for name in ("Requires", "BindsTo", "Wants")).split()
    needed = sorted({need.removesuffix(_SUFFIX) for need in needs} & names - {unit.name})
    file = f"{unit.name}{_SUFFIX}"
    return Service(
        name=_name(unit.name, place),
        role=role,
        host=place,
        metrics_url=f"http://{host.address}:{port}/metrics" if port.isdecimal() and port != "0" else "",
        depends_on=tuple(_name(need, place) for need in needed),
        pid_command=("systemctl", "show", "--property=MainPID", "--value", "--", file),
        stop=("systemctl", "stop", "--", file),
        start=("systemctl", "start", "--", file),
        data_dir=unit.environment.get(_DATA_DIR, ""),
        log_command=("journalctl", "--no-pager", "--output=cat", f"--unit={file}", "--since=-{seconds}s"),
    )


def _name(unit: str, place: str) -> str:
    """A unit's name as a service: hosts have units of the same name."""
    return f"{unit}.{place}" if place else unit


def _role(unit: Unit) -> str:
    """The subcommand of `backbeat`, a broker, or the unit's own name."""
    command = _words(unit.properties.get("ExecStart", "").partition("argv[]=")[2].partition(" ; ")[0])
    program = next((number for number, word in enumerate(command) if PurePath(word).name == "backbeat"), len(command))
    words = iter(command[program + 1 :])
    for word in words:
        if not word.startswith("-"):
            return word
        if "=" not in word:
            # The value of an option of all commands: --profile production.
            next(words, None)
    if any(name in f"{unit.name}{_SUFFIX} {' '.join(command)}" for name in _BROKERS):
        return "broker"
    return unit.name.partition("@")[0]


def _environment(host: Host, properties: Mapping[str, str]) -> dict[str, str]:
    pairs = _words(properties.get("Environment", ""))
    if (pid := properties.get("MainPID", "0")) != "0":
        # Another user's cannot be read: what the unit sets has to do.
        with contextlib.suppress(TopologyError):
            pairs += _run(host, "cat", f"/proc/{pid}/environ").split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _run(host: Host, *command: str) -> str:
    words = [*host.run, *command]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=_ASK_SECONDS_MAX).stdout
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None)
        reason = output.strip() if isinstance(output, str) and output.strip() else str(error)
        raise TopologyError(f"the units of {host.name} cannot be read by `{shlex.join(words)}`: {reason}") from error
