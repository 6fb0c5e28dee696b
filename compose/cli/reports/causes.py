"""`backbeat causes`: failed nodes by cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.options import connected, json_option
from backbeat.compose.cli.show.printing import emit, note, print_table, when

if TYPE_CHECKING:
    from backbeat.client.search import Cause


@click.command(
    epilog="""\b
Examples:
  backbeat causes
  backbeat search nodes --cause 00f3a9c14be27d55
  backbeat retry --where name="Charge card" --where error="connection refused" --dry-run
"""
)
@connected
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="How many causes at most.")
@json_option
def causes(connection: Connection, limit: int, *, as_json: bool) -> None:
    """Show why nodes have failed: their last errors, without ids, numbers and quoted words, are one cause.

    Those first that need a person. With --json: a line for each.
    """
    rows = connection.run(lambda client: client.causes(limit=limit))
    if as_json:
        for cause in rows:
            emit(cause)
        return
    print_table(
        ("CAUSE", "ACTIVITY", "EXHAUSTED", "ERRORED", "RETRYING", "WORKFLOWS", "FIRST", "LAST", "ID"), map(_row, rows)
    )
    if not rows:
        note("Nothing has failed.")


def _row(cause: Cause) -> tuple[str, ...]:
    counts = (cause.nodes.get(word, 0) for word in ("retries_exhausted", "errored", "retrying"))
    return (
        cause.cause or "(no error is known)",
        cause.activity,
        *(f"{count:,}" for count in (*counts, cause.workflows)),
        when(cause.first_at),
        when(cause.last_at),
        cause.id,
    )
