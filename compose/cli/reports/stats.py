"""`backbeat stats`: the console report of the original, and all that waits (behaviour document, section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.exit_codes import Exit, explain
from backbeat.compose.cli.options import application_option, connected, json_option
from backbeat.compose.cli.reports.source import database_option, source

if TYPE_CHECKING:
    from backbeat.compose.cli.reports.stats_printing import Stats
    from backbeat.streams.kafka.queues import Queues

#: Dead letters up to which they are counted.
_DEAD_LETTERS_MAX = 20_000


@click.command(
    epilog="""\b
Examples:
  backbeat stats
  backbeat stats --json | jq '.queues.activities[] | {client, group, waiting}'
  backbeat stats --database-url postgresql://backbeat@db/backbeat     no gateway is asked
  backbeat --profile production stats

Exit codes: 0 all of it is shown; 3 the gateway, the database or Kafka cannot be asked, and its part is missing.
"""
)
@connected
@database_option
@application_option
@json_option
def stats(connection: Connection, database_url: str | None, application_id: str, *, as_json: bool) -> None:
    """Show counts by workflow and by activity, queue sizes, lag by partition and timers, of all client applications.

    Counts and timers come from the projection, which a gateway brings up to date first; queue sizes and lag come from
    Kafka, and count from the newest commit.
    """
    from backbeat.compose.cli.reports.stats_printing import document_of, print_stats
    from backbeat.compose.cli.show.printing import emit, note

    stats_found, code = _gather(connection, database_url, application_id)
    if as_json:
        emit(document_of(stats_found))
    else:
        print_stats(stats_found)
    for trouble in stats_found.trouble:
        note(f"Error: {trouble}")
    if stats_found.trouble:
        raise click.exceptions.Exit(code)


def _gather(connection: Connection, database_url: str | None, application_id: str) -> tuple[Stats, int]:
    """All parts that can be had: an operator looks here when some are broken."""
    from backbeat.compose.cli.reports.stats_printing import Stats

    stats_found = Stats()
    code = int(Exit.DONE)

    def add_trouble(error: Exception) -> None:
        nonlocal code
        command_error = explain(error) if not isinstance(error, click.ClickException) else error
        if command_error is None:
            raise error
        stats_found.trouble.append(command_error.format_message())
        code = max(code, command_error.exit_code)

    try:
        report_source = source(connection, database_url)
        stats_found.summary, stats_found.stale_seconds, stats_found.names = (
            report_source.summary(),
            report_source.stale_seconds,
            report_source.names(),
        )
    except Exception as error:  # noqa: BLE001 - what cannot be explained is raised again
        add_trouble(error)
    if connection.only_gateway or connection.person is not None:
        return stats_found, code
    try:
        stats_found.queues = _queues(connection, application_id)
        stats_found.dead_letters = _dead_letters(connection)
    except Exception as error:  # noqa: BLE001 - as above
        add_trouble(error)
    return stats_found, code


def _queues(connection: Connection, application_id: str) -> Queues:
    from backbeat.schemas.kafka.brokers import reach
    from backbeat.streams.kafka.queues import read_queues

    return read_queues(reach(connection.bootstrap_servers), connection.bootstrap_servers, application_id)


def _dead_letters(connection: Connection) -> int | None:
    """Number of dead letters that wait; None: too many to be counted."""
    from backbeat.gateway.letters.topic import DeadLetterTopic, Filters

    with DeadLetterTopic(connection.bootstrap_servers) as topic:
        sizes = [topic.ends(partition) for partition in topic.partitions]
        if sum(end - first for first, end in sizes) > _DEAD_LETTERS_MAX:
            return None
        return len(topic.find(Filters().match))
