"""What commands print: tables and colours for people, lines of JSON for programs.

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

#: Of text that is piped into something, no line is broken.
_WIDTH_OF_A_PIPE = 10_000
_SECOND, _MINUTE, _HOUR, _DAY = 1, 60, 3_600, 86_400
#: Up to so many of a unit the next smaller one says more.
_UNITS = ((2 * _DAY, _DAY, "d"), (2 * _HOUR, _HOUR, "h"), (2 * _MINUTE, _MINUTE, "min"), (0, _SECOND, "s"))

#: How a status looks; what is not here is under way.
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
    """Where tables and trees are printed. Colours only on a terminal, and not where NO_COLOR is set."""
    console = Console(file=sys.stderr if stderr else sys.stdout, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_A_PIPE
    return console


def emit(value: Any) -> None:
    """One line of JSON."""
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
    for least, unit, name in _UNITS:
        if seconds >= least:
            return f"{seconds / unit:.0f} {name}"
    return "0 s"


def ago(at: datetime) -> str:
    """How long ago a moment was, or in how long it will be."""
    seconds = (datetime.now(UTC) - at).total_seconds()
    return f"{how_long(seconds)} ago" if seconds >= 0 else f"in {how_long(-seconds)}"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> int:
    """Print rows under their headings, and give how many there were."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # An id is copied, so it is never shortened.
        table.add_column(column, no_wrap=column == "ID", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(one_line(cell)) for cell in row))
    if table.row_count:
        _print(table)
    return table.row_count


def print_facts(facts: Iterable[tuple[str, str | Text]]) -> None:
    """Print names and values, a line each; those without a value are left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
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
    # Columns are padded to their width: what goes into a pipe needs no blanks at the ends of its lines.
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def note(text: str) -> None:
    """Something for people beside the output: to standard error, so that pipes stay clean."""
    click.echo(text, err=True)
