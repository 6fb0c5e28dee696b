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

from backbeat.compose.cli.errors import SetupError

FILE_NAME = "backbeat.toml"
PROFILE_DEFAULT = "default"
#: Keys of a profile for all commands at once; the keys of one command stand in that command's table.
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
    "person",
    "timeout-seconds",
    "database-url",
    "development",
)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A profile of a file."""

    #: None: there is no file.
    path: Path | None = None
    name: str = PROFILE_DEFAULT
    shared: Mapping[str, Any]
    #: Nested as the commands are; a value that is no table is that of a flag.
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
    content = _read(path)
    profiles = _table(content.get("profiles", {}), f"{path}: profiles")
    profile_name = name or content.get("profile", PROFILE_DEFAULT)
    _refuse_unknown(content, ("profile", "profiles"), f"{path}")
    if not isinstance(profile_name, str):
        raise SetupError(f"{path}: profile must be a name, not {profile_name!r}. The form: docs/reference/settings.md.")
    if profile_name not in profiles:
        if name is None and "profile" not in content:
            return Profile(path=path, shared={}, commands={})
        names = ", ".join(profiles) or "none"
        raise SetupError(
            f"{path}: there is no profile {profile_name!r} (there are: {names}). To choose one: --profile NAME."
        )
    place = f"{path}: profile {profile_name!r}"
    table = dict(_table(profiles[profile_name], place))
    commands = _table(table.pop("commands", {}), f"{place}: commands")
    shared = {_key(key): value for key, value in table.items()}
    _refuse_unknown(shared, SHARED_KEYS, place)
    return Profile(path=path, name=profile_name, shared=shared, commands=commands)


class Section(MutableMapping[str, Any]):
    """A profile's values for one command, as click asks for them: by the name of a parameter, or of a subcommand."""

    def __init__(
        self,
        command: click.Command,
        context: click.Context,
        profile: Profile,
        values: Mapping[str, Any],
        path: str = "",
    ) -> None:
        self._command, self._context, self._profile, self._path = command, context, profile, path
        self._subcommands = (
            {key: value for key, value in values.items() if isinstance(value, dict)}
            if isinstance(command, click.Group)
            else {}
        )
        own_values = {_key(key): value for key, value in values.items() if key not in self._subcommands}
        options = {
            _option_key(parameter): parameter for parameter in command.params if isinstance(parameter, click.Option)
        }
        _refuse_unknown(own_values, tuple(options), f"{profile.path}: profile {profile.name!r}: commands.{path}")
        # A flag without a variable is that command's own: `dev` must not take production's Kafka for its own.
        shared = {key: value for key, value in profile.shared.items() if key in options and options[key].envvar}
        self._values = {options[key].name or "": value for key, value in {**shared, **own_values}.items()}

    def __getitem__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        if not isinstance(self._command, click.Group):
            raise KeyError(name)
        child = self._command.get_command(self._context, name)
        if child is None:
            raise KeyError(name)
        path = f"{self._path}.{name}" if self._path else name
        values = _table(self._subcommands.get(name, {}), f"commands.{path}")
        return Section(child, self._context, self._profile, values, path)

    def __setitem__(self, name: str, value: Any) -> None:
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _option_key(option: click.Option) -> str:
    """Key of an option in a profile: its longest flag without dashes."""
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


def _table(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise SetupError(f"{place} must be a table, not {value!r}. The form: docs/reference/settings.md.")
    return value


def _refuse_unknown(values: Mapping[str, Any], known_keys: tuple[str, ...], place: str) -> None:
    unknown_keys = [key for key in values if key not in known_keys]
    if unknown_keys:
        from backbeat.client.words import hint

        raise SetupError(
            f"{place}: there is no setting {unknown_keys[0]!r} here: {hint(unknown_keys[0], sorted(known_keys))}. "
            "What only one command knows stands in [profiles.NAME.commands.COMMAND]."
        )
