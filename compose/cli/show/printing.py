"""Printing of commands: tables and colours for people, lines of JSON for programs.

Text of others is never taken for markup, and its control characters are spelt out (`sanitize`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from backbeat.compose.cli.show.sanitize import one_line, plain

#: No line of piped text is broken.
_PIPE_WIDTH = 10_000
_SECOND, _MINUTE, _HOUR, _DAY = 1, 60, 3_600, 86_400
#: Up to so many of a unit the next smaller one tells more.
_UNITS = ((2 * _DAY, _DAY, "d"), (2 * _HOUR, _HOUR, "h"), (2 * _MINUTE, _MINUTE, "min"), (0, _SECOND, "s"))

#: Colours of statuses; those that are not here are under way.
_STYLES = {
    "complete": "green",
    "resolved": "green",
    "deactivated": "dim",
    "shutdown": "dim",
    "pending": "dim",
    "ready": "default",
    "errored": "red",
    "retries_exhausted": "bold red",
    "paused": "magenta",
}


def make_console(*, stderr: bool = False) -> Console:
    """The console for tables and trees. Colours only on a terminal, and not where NO_COLOR is set."""
    console = Console(file=sys.stderr if stderr else sys.stdout, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def emit(value: Any) -> None:
    """Print a line of JSON."""
    click.echo(msgspec.json.encode(value).decode())


def json_text(value: Any) -> str:
    """A payload as compact JSON."""
    return plain(msgspec.json.encode(value).decode())


def status_text(status: str) -> Text:
    """A status in its colour."""
    return Text(status, style=_STYLES.get(status, "yellow"))


def when(at: datetime | None) -> str:
    """A moment, in UTC to the second."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def how_long(seconds: float) -> str:
    """A length of time in one unit: `90 s`, `5 min`, `20 h`, `3 d`."""
    for seconds_min, unit, name in _UNITS:
        if seconds >= seconds_min:
            return f"{seconds / unit:.0f} {name}"
    return "0 s"


def ago(at: datetime) -> str:
    """Text of a moment relative to now: `5 min ago`, `in 20 h`."""
    seconds = (datetime.now(UTC) - at).total_seconds()
    return f"{how_long(seconds)} ago" if seconds >= 0 else f"in {how_long(-seconds)}"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> int:
    """Print rows under their headings; the number of rows is returned."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # An id is copied, so it is never shortened.
        table.add_column(column, no_wrap=column == "ID", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(one_line(cell)) for cell in row))
    if table.row_count:
        _print(table)
    return table.row_count


def print_fields(fields: Iterable[tuple[str, str | Text]]) -> None:
    """Print names and values, a line each; those without a value are left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        if value:
            table.add_row(name, value if isinstance(value, Text) else Text(plain(value)))
    _print(table)


def _print(table: Table) -> None:
    console = make_console()
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as capture:
        console.print(table)
    # Columns are padded to their width: a pipe needs no blanks at the ends of its lines.
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def note(text: str) -> None:
    """Print a note for people beside the output: to standard error, so that pipes stay clean."""
    click.echo(text, err=True)
