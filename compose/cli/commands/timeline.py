"""`backbeat workflow timeline`: where a workflow's time went."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.options import connected, json_option
from backbeat.compose.cli.references import workflow_argument, workflow_id
from backbeat.compose.cli.show.printing import emit, note, print_table, when

if TYPE_CHECKING:
    from backbeat.client.search import TimelineGroup, TimelineNode

#: Columns of text from empty to full, and parts of a group's time that are one of them.
_COLUMNS = " ▁▂▃▄▅▆▇█"
_PARTS_A_COLUMN = 4


@click.command(
    epilog="""\b
Examples:
  backbeat workflow timeline "Camera sale" "Camera 703"
  backbeat workflow timeline 5d3f8a10-… --below 5d3f8a11-…
  backbeat workflow timeline 5d3f8a10-… --below 5d3f8a11-… --name "Charge card"
  backbeat workflow timeline 5d3f8a10-… --json | jq '.critical_path[].name'
"""
)
@workflow_argument
@connected
@click.option("--below", metavar="ID", help="The nodes right below this one.  [default: those at the top]")
@click.option("--after", metavar="ID", help="Those behind this one: the next page.")
@click.option("--name", help="Of the nodes below it those with this name, one by one.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=200, show_default=True, help="How many nodes at most.")
@json_option
def timeline(
    workflow: tuple[str, ...],
    connection: Connection,
    below: str | None,
    after: str | None,
    name: str | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Show where a workflow's time went: how long its nodes waited, were with a worker, waited for a retry.

    First the critical path: from the top down the child that ended last, or is open. Children of one name are one line
    from 50 on: how many of them were open at once.
    """
    if name is not None and below is None:
        raise click.UsageError("--name is of the nodes below one: say --below ID, too.")
    result = connection.run(
        lambda client: client.timeline(
            workflow_id(client, workflow), below=below, after=after, name=name, fold=True, limit=limit
        )
    )
    if as_json:
        emit(result)
        return
    lines = [_line("critical path", node) for node in result.critical_path if below is None]
    lines += map(_group_line, result.groups)
    lines += [_line("", node) for node in result.nodes]
    print_table(("", "NODE", "ID", "MADE", "LASTED", "OF THAT"), lines)
    if result.next is not None:
        note(f"There are more: --after {result.next}")


def _group_line(group: TimelineGroup) -> tuple[str, ...]:
    most = max(group.open)
    starts = range(0, len(group.open), _PARTS_A_COLUMN)
    heights = [max(group.open[start : start + _PARTS_A_COLUMN]) * (len(_COLUMNS) - 1) for start in starts]
    columns = "".join(_COLUMNS[-(-height // max(most, 1))] for height in heights)
    lasted = f"{(group.until - group.since).total_seconds():,.1f} s"
    return f"{group.total:,} of", group.name, "", when(group.since), lasted, f"{most:,} open at most {columns}"


def _line(mark: str, node: TimelineNode) -> tuple[str, ...]:
    totals: dict[str, float] = {}
    for span in node.spans:
        totals[span.kind] = totals.get(span.kind, 0.0) + span.lasted.total_seconds()
    parts = sorted(totals.items(), key=lambda item: -item[1])
    lasted = f"{sum(totals.values()):,.1f} s{'' if node.ended_at else ' so far'}"
    errors = [f"{len(node.errors)} failed attempts"] if node.errors else []
    of_that = ", ".join([*(f"{kind} {seconds:,.1f} s" for kind, seconds in parts), *errors])
    return mark, node.name, node.id, when(node.created_at), lasted, of_that
