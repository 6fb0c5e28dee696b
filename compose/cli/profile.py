"""Profiles: the settings of a command line in a file, below flags and environment variables.

    # backbeat.toml
    profile = "local"                   # which one counts where nobody says --profile; else it is "default"

    [profiles.local]
    client = "shop"                     # for every command that has --client

    [profiles.production]
    bootstrap-servers = "kafka-1:9092,kafka-2:9092"
    gateway = "https://backbeat.example"

    [profiles.production.commands.engine]
    instance-id = "engine-a"            # for one command; `commands.workflow.tree` is `backbeat workflow tree`

A key is the name of a flag without its dashes. The file is the nearest `backbeat.toml` from the working directory
upwards, else the one in `~/.config/backbeat/`; `--config` names another.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from backbeat.client.words import hint
from backbeat.compose.cli.errors import SetupError

FILE_NAME = "backbeat.toml"
PROFILE_USUAL = "default"
#: What a profile may say for all commands at once; what only one command knows stands in that command's table.
SHARED_KEYS = (
    "bootstrap-servers",
    "kafka-security-protocol",
    "kafka-ca-file",
    "kafka-certificate-file",
    "kafka-key-file",
    "kafka-sasl-mechanism",
    "kafka-user",
    "kafka-password-file",
    "gateway",
    "client",
    "token",
    "timeout-seconds",
    "database-url",
    "development",
)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One profile of one file."""

    #: None: there is no file.
    path: Path | None = None
    name: str = PROFILE_USUAL
    shared: Mapping[str, Any]
    #: Nested as the commands are; what is no table is the value of a flag.
    commands: Mapping[str, Any]


def find_file(start: Path, home: Path) -> Path | None:
    """The nearest file from a directory upwards, else the one in the home directory."""
    for folder in (start, *start.parents, home / ".config" / "backbeat"):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    return None


def load_profile(path: Path | None, name: str | None) -> Profile:
    """The profile of this name, else the one that the file names; SetupError where it cannot be used."""
    if path is None:
        if name is not None:
            raise SetupError(
                f"there is no profile {name!r}: no {FILE_NAME} was found. What to do: write one "
                "(docs/reference/settings.md), "
                "or leave --profile out."
            )
        return Profile(shared={}, commands={})
    said = _read(path)
    profiles = _table(said.get("profiles", {}), f"{path}: profiles")
    wanted = name or said.get("profile", PROFILE_USUAL)
    _refuse_unknown(said, ("profile", "profiles"), f"{path}")
    if not isinstance(wanted, str):
        raise SetupError(f"{path}: profile must be a name, not {wanted!r}. The form: docs/reference/settings.md.")
    if wanted not in profiles:
        if name is None and "profile" not in said:
            return Profile(path=path, shared={}, commands={})
        known = ", ".join(profiles) or "none"
        raise SetupError(f"{path}: there is no profile {wanted!r} (there are: {known}). To choose one: --profile NAME.")
    where = f"{path}: profile {wanted!r}"
    content = dict(_table(profiles[wanted], where))
    commands = _table(content.pop("commands", {}), f"{where}: commands")
    shared = {_key(key): value for key, value in content.items()}
    _refuse_unknown(shared, SHARED_KEYS, where)
    return Profile(path=path, name=wanted, shared=shared, commands=commands)


class Section(MutableMapping[str, Any]):
    """What a profile says to one command, as click asks for it: by the name of a parameter, or of a subcommand."""

    def __init__(
        self, command: click.Command, context: click.Context, profile: Profile, said: Mapping[str, Any], where: str = ""
    ) -> None:
        self._command, self._context, self._profile, self._where = command, context, profile, where
        self._subcommands = (
            {key: value for key, value in said.items() if isinstance(value, dict)}
            if isinstance(command, click.Group)
            else {}
        )
        own = {_key(key): value for key, value in said.items() if key not in self._subcommands}
        options = {_option_key(one): one for one in command.params if isinstance(one, click.Option)}
        _refuse_unknown(own, tuple(options), f"{profile.path}: profile {profile.name!r}: commands.{where}")
        # A flag without a variable is that command's own: `dev` must not take production's Kafka for its own.
        shared = {key: value for key, value in profile.shared.items() if key in options and options[key].envvar}
        self._values = {options[key].name or "": value for key, value in {**shared, **own}.items()}

    def __getitem__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        if not isinstance(self._command, click.Group):
            raise KeyError(name)
        child = self._command.get_command(self._context, name)
        if child is None:
            raise KeyError(name)
        where = f"{self._where}.{name}" if self._where else name
        said = _table(self._subcommands.get(name, {}), f"commands.{where}")
        return Section(child, self._context, self._profile, said, where)

    def __setitem__(self, name: str, value: Any) -> None:
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _option_key(option: click.Option) -> str:
    """The key of an option in a profile: its longest flag without dashes."""
    return max(option.opts, key=len).lstrip("-")


def _key(key: str) -> str:
    return key.replace("_", "-")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"{path} is no TOML: {error}.") from error


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise SetupError(f"{where} must be a table, not {value!r}. The form: docs/reference/settings.md.")
    return value


def _refuse_unknown(said: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = [key for key in said if key not in known]
    if unknown:
        raise SetupError(
            f"{where}: there is no setting {unknown[0]!r} here: {hint(unknown[0], sorted(known))}. "
            "What only one command knows stands in [profiles.NAME.commands.COMMAND]."
        )
