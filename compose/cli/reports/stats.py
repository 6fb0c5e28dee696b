"""`backbeat stats`: the console report of the original, and what waits where (behaviour document, section 7)."""

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

#: Of more dead letters than this it is only said that they are many.
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
    from backbeat.compose.cli.reports.stats_printing import as_facts, tell
    from backbeat.compose.cli.show.printing import emit, note

    found, code = _gather(connection, database_url, application_id)
    if as_json:
        emit(as_facts(found))
    else:
        tell(found)
    for trouble in found.trouble:
        note(f"Error: {trouble}")
    if found.trouble:
        raise click.exceptions.Exit(code)


def _gather(connection: Connection, database_url: str | None, application_id: str) -> tuple[Stats, int]:
    """Whatever can be had: an operator looks here when something is broken."""
    from backbeat.compose.cli.reports.stats_printing import Stats

    found = Stats()
    code = int(Exit.DONE)

    def missing(error: Exception) -> None:
        nonlocal code
        explained = explain(error) if not isinstance(error, click.ClickException) else error
        if explained is None:
            raise error
        found.trouble.append(explained.format_message())
        code = max(code, explained.exit_code)

    try:
        asked = source(connection, database_url)
        found.summary, found.stale_seconds, found.names = asked.summary(), asked.stale_seconds, asked.names()
    except Exception as error:  # noqa: BLE001 - what cannot be explained is raised again
        missing(error)
    if connection.only_gateway:
        return found, code
    try:
        found.queues = _queues(connection, application_id)
        found.dead_letters = _dead_letters(connection)
    except Exception as error:  # noqa: BLE001 - as above
        missing(error)
    return found, code


def _queues(connection: Connection, application_id: str) -> Queues:
    from backbeat.schemas.kafka.brokers import reach
    from backbeat.streams.kafka.queues import read_queues

    return read_queues(reach(connection.bootstrap_servers), application_id)


def _dead_letters(connection: Connection) -> int | None:
    """How many wait; None: more than one counts."""
    from backbeat.compose.cli.dead_letters.topic import Filters, LetterTopic

    with LetterTopic(connection.bootstrap_servers) as topic:
        sizes = [topic.ends(partition) for partition in topic.partitions]
        if sum(end - first for first, end in sizes) > _DEAD_LETTERS_MAX:
            return None
        return len(topic.find(Filters().match))
