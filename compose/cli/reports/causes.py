"""`backbeat causes`: failed nodes by cause, activity, client or workflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from backbeat.client.search import Cause, FailureGroup
from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.options import connected, json_option
from backbeat.compose.cli.show.printing import emit, json_text, note, print_table, when

if TYPE_CHECKING:
    from backbeat import Client


@click.command(
    epilog="""\b
Examples:
  backbeat causes
  backbeat causes --by workflow --kind exhausted
  backbeat search nodes --cause 00f3a9c14be27d55
  backbeat retry --where name="Charge card" --where error="connection refused" --dry-run
"""
)
@connected
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="How many causes at most.")
@click.option(
    "--by",
    type=click.Choice(("cause", "activity", "client", "workflow")),
    default="cause",
    show_default=True,
    help="What failed nodes are grouped by.",
)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(("exhausted", "errored", "retrying", "overdue")),
    multiple=True,
    help="Only these: retries exhausted; failed in the engine; waiting for a retry; whose retry's time has passed.  "
    "[default: all]",
)
@json_option
def causes(connection: Connection, limit: int, by: str, kinds: tuple[str, ...], *, as_json: bool) -> None:
    """Show why nodes have failed: their last errors, without ids, numbers and quoted words, are one cause.

    Those first that need a person. With --json: a line for each.
    """

    async def read(client: Client) -> Sequence[Cause | FailureGroup]:
        if by == "cause":
            return await client.causes(limit=limit, kinds=kinds)
        return await client.failures(by, limit=limit, kinds=kinds)

    rows = connection.run(read)
    if as_json:
        for row in rows:
            emit(row)
        return
    first, last = (("CAUSE", "ACTIVITY"), ("ID",)) if by == "cause" else ((by.upper(),), ())
    print_table((*first, "EXHAUSTED", "ERRORED", "RETRYING", "WORKFLOWS", "FIRST", "LAST", *last), map(_row, rows))
    if not rows:
        note("Nothing has failed.")


def _row(row: Cause | FailureGroup) -> tuple[str, ...]:
    counts = (row.nodes.get(word, 0) for word in ("retries_exhausted", "errored", "retrying"))
    figures = (*(f"{count:,}" for count in (*counts, row.workflows)), when(row.first_at), when(row.last_at))
    if isinstance(row, Cause):
        return (row.cause or "(no error is known)", row.activity, *figures, row.id)
    if row.workflow is not None:
        return (f"{row.workflow} {json_text(row.subject)}", *figures)
    return (row.activity or row.user_id, *figures)
