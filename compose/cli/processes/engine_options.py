"""The engine's settings that seldom change, as flags: one for each of `EngineSettings` that has none of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import click

from backbeat.compose.cli.durations import Number
from backbeat.streams.process.settings import EngineSettings

F = TypeVar("F", bound=Callable[..., Any])

_WITH_FLAGS = ("bootstrap_servers", "instance_id", "data_dir")
_MEANINGS = {
    "application_id": "Consumer group; engines of one application share the partitions.",
    "cache_records": "Decoded records that are held in memory.",
    "commit_interval_seconds": "Between two commits: how much is done again after a crash.",
    "commit_records_max": "Changed records that start a commit sooner.",
    "commit_stall_timeout_seconds": "After which a committed position that stands still ends the process.",
    "commit_timeout_seconds": "After which a commit that does not succeed ends the process.",
    "heartbeat_interval_seconds": "How often it tells its group that it is there.",
    "leave_records_max": "Stored records up to which the others take over at once when it is stopped.",
    "loop_timeout_seconds": "After which an event loop that does not come round ends the process.",
    "pending_records_max": "Records of one partition that wait in memory while it is restored.",
    "rebalance_timeout_seconds": "How long it may take to give its partitions back.",
    "restore_stall_timeout_seconds": "After which a restore that does not come further ends the process.",
    "session_timeout_seconds": "How long a silent engine keeps its partitions.",
    "signals_turn_seconds": "How much work of one client's signals may be ahead of all others'; 0 is any.",
    "stall_timeout_seconds": "After which a partition that does not move ends the process.",
    "touch_interval_seconds": "How soon an idle engine notices that it was replaced.",
    "transaction_timeout_seconds": "How long a dead engine's open transaction may stand.",
}


def tuning_options(command: F) -> F:
    """Add the flags; the command gets the named ones by the fields' names, and None for the rest."""
    for field in reversed(dataclasses.fields(EngineSettings)):
        if field.name in _WITH_FLAGS:
            continue
        option = click.option(
            f"--{field.name.replace('_', '-')}",
            type=Number(0) if isinstance(field.default, float) else type(field.default),
            envvar=f"BACKBEAT_{field.name.upper()}",
            help=f"{_MEANINGS.get(field.name, '')}  [default: {field.default}]".strip(),
        )
        command = option(command)
    return command


def named_settings(tuning: dict[str, Any]) -> dict[str, Any]:
    """The flags that were named."""
    return {name: value for name, value in tuning.items() if value is not None}
