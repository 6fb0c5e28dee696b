"""`backbeat engines`: which engine has which partition, and how that stands, as the engines tell."""

from __future__ import annotations

import click
import msgspec

from backbeat.client.operations.engines import EnginePartition
from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.exit_codes import Exit
from backbeat.compose.cli.options import json_option, operating
from backbeat.compose.cli.show.printing import emit, print_table, when


@click.command(
    epilog="""\b
Examples:
  backbeat engines
  backbeat engines --json | jq 'select(.state != "ready")'
\b
Exit codes: 0 an engine has answered for each partition, 1 one is silent.
"""
)
@operating
@json_option
def engines(connection: Connection, *, as_json: bool) -> None:
    """Show which engine has which partition, of which version it is, and how far a restore is.

    Engines answer while they restore a partition, too. One that is silent for two seconds has no engine, or hangs.
    """
    partitions = connection.run(lambda client: client.engines())
    if as_json:
        for partition in partitions:
            emit(msgspec.structs.asdict(partition))
    else:
        print_table(("PARTITION", "STATE", "ENGINE", "VERSION", "SINCE", "WAITING", "OVERDUE"), map(_row, partitions))
    if any(partition.state == "silent" for partition in partitions):
        raise click.exceptions.Exit(Exit.FAILED)


def _row(partition: EnginePartition) -> tuple[str, ...]:
    state = partition.state
    if state == "restoring":
        state = f"restoring, {partition.restored:.0%}, {partition.restore_left:,} records left"
    return (
        str(partition.partition),
        state,
        partition.engine or "",
        partition.version or "",
        "" if partition.since is None else when(partition.since),
        str(partition.waiting),
        str(partition.timers_overdue),
    )
