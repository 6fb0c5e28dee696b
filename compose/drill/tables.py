"""Tables of `backbeat drill` on a terminal: rows in columns, and the services of an installation."""

from __future__ import annotations

from collections.abc import Sequence

import click

from backbeat.compose.cli.exit_codes import CommandError, Exit
from backbeat.compose.cli.show.printing import emit
from backbeat.compose.drill.topology.topology import Topology, TopologyError


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, each column as wide as it must be."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def show_topology(topology: Topology, depends_on: str | None, levels: int | None, *, as_json: bool) -> None:
    """Show the services and their graph, or what depends on one of them. CommandError: there is no such service."""
    if depends_on is not None:
        try:
            dependents = topology.dependents(depends_on, levels)
        except TopologyError as error:
            raise CommandError(str(error), Exit.USAGE) from error
        for name, level in dependents.items():
            if as_json:
                emit({"service": name, "level": level})
            else:
                click.echo(f"{level}  {name}")
        return
    rows = list(topology.table())
    if as_json:
        for row in rows[1:]:
            emit(dict(zip(rows[0], row, strict=True)))
        return
    for line in (*table_lines(rows), "", *topology.graph()):
        click.echo(line)
