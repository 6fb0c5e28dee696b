"""The table of all settings in docs/reference/settings.md, made from click's parameters of the commands.

python -m backbeat.compose.cli.show.settings_table docs/reference/settings.md      # write it anew
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from backbeat.compose.cli.program import backbeat

_BEGIN, _END = "<!-- made by backbeat.compose.cli.show.settings_table: begin -->", "<!-- end -->"
#: Options of more commands than this are listed under the commands' first words.
_COMMANDS_MAX = 3


def table() -> str:
    """The rows, for each option of each command; the same option of several commands is one row."""
    rows: dict[tuple[str, str, str, str, str], list[str]] = {}
    for path, command in _commands(backbeat, click.Context(backbeat), ()):
        for parameter in command.params:
            if isinstance(parameter, click.Option) and "--help" not in parameter.opts:
                rows.setdefault(_row(parameter), []).append(" ".join(path))
    lines = ["| flag | variable | key | default | of | what |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {flag} | {variable} | {key} | {default} | {_places(places)} | {meaning} |"
        for (flag, variable, key, default, meaning), places in sorted(rows.items(), key=_order)
    ]
    return "\n".join(lines)


def put(text: str) -> str:
    """A document with the table as it is now."""
    head, _, remainder = text.partition(_BEGIN)
    _, _, tail = remainder.partition(_END)
    return f"{head}{_BEGIN}\n{table()}\n{_END}{tail}"


def _commands(
    command: click.Command, context: click.Context, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None, "what is listed is there"
            yield from _commands(child, context, (*path, name))


def _row(option: click.Option) -> tuple[str, str, str, str, str]:
    flag = " ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    variable = f"`{option.envvar}`" if option.envvar else ""
    key = max(option.opts, key=len).lstrip("-")
    text = (option.help or "").partition("  [default: ")
    default_text = text[2].rstrip("]")
    default = default_text or ("" if option.is_flag else _default(option))
    return flag, variable, key, _cell(default), _cell(text[0])


def _default(option: click.Option) -> str:
    default = option.to_info_dict()["default"]
    if default is None or callable(default) or default == () or "Sentinel" in type(default).__name__:
        return ""
    return str(default)


def _places(places: list[str]) -> str:
    names = places if len(places) <= _COMMANDS_MAX else list(dict.fromkeys(place.partition(" ")[0] for place in places))
    return ", ".join(names) or "all"


def _order(item: tuple[tuple[str, ...], list[str]]) -> tuple[int, str, str]:
    """Sort key: options with a variable first, since they are set once; then by name."""
    (_, variable, key, _, _), places = item
    return (0 if variable else 1), key, places[0]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(put(document.read_text(encoding="utf-8")), encoding="utf-8")
