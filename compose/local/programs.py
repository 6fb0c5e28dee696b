"""The commands that run an engine and a gateway, with this Python."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

#: (bootstrap servers, instance id, data directory) -> the command that runs an engine.
EngineCommand = Callable[[str, str, Path], list[str]]


def engine_command(bootstrap_servers: str, instance_id: str, data_dir: Path) -> list[str]:
    """The real engine, with this Python."""
    return [
        *(sys.executable, "-m", "backbeat.compose", "engine", "--development"),
        *("--bootstrap-servers", bootstrap_servers, "--instance-id", instance_id, "--data-dir", str(data_dir)),
    ]


def gateway_command(bootstrap_servers: str, http_port: int, data_dir: Path, arguments: Sequence[str]) -> list[str]:
    """A gateway, with this Python."""
    return [
        *(sys.executable, "-m", "backbeat.compose", "gateway", "--bootstrap-servers", bootstrap_servers),
        *("--http-port", str(http_port), "--data-dir", str(data_dir), *arguments),
    ]
