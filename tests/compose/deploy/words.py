"""Whether the command line would take the words that a deployment file gives it, without running anything."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from unittest import mock

import click

from backbeat.compose.cli.program import backbeat
from backbeat.streams.process.settings import EngineSettings


def accept(words: Sequence[str], environment: Mapping[str, object] = {}) -> None:
    """Parse words of `backbeat` in an environment; click's error where they are not understood."""
    command: click.Command = backbeat
    left = [str(word) for word in words]
    variables = {name: str(value) for name, value in environment.items()}
    with mock.patch.dict(os.environ, variables):
        parent = command.make_context("backbeat", [], resilient_parsing=True)
        while isinstance(command, click.Group):
            name, subcommand, left = command.resolve_command(parent, left)
            assert subcommand is not None, words
            command = subcommand
            if isinstance(command, click.Group):
                parent = click.Context(command, info_name=name, parent=parent)
        command.make_context(command.name or "", left, parent=parent)


def known_variables() -> set[str]:
    """Every variable that some option of the command line, or the engine's settings, read."""
    variables = {f"BACKBEAT_{name.upper()}" for name in asdict(EngineSettings())}
    left: list[click.Command] = [backbeat]
    while left:
        command = left.pop()
        for option in command.params:
            given = option.envvar or []
            variables |= {given} if isinstance(given, str) else set(given)
        if isinstance(command, click.Group):
            context = click.Context(command)
            subcommands = [command.get_command(context, name) for name in command.list_commands(context)]
            left += [word for word in subcommands if word is not None]
    return variables
