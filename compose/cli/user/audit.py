"""`backbeat audit`: what people did, in the console, over the API and by the command line, and why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click
import msgspec

from backbeat.client.operations.audit import AuditEntry, AuditOptions
from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.durations import Length
from backbeat.compose.cli.options import json_option, operating
from backbeat.compose.cli.show.printing import emit, note, print_table, when
from backbeat.errors import Unavailable

if TYPE_CHECKING:
    from backbeat.gateway.people.audit import Entry

_READ_SECONDS = 60.0


@click.group()
def audit() -> None:
    """Show what people did, in the console, over the API and by the command line, and why."""


@audit.command(
    "list",
    epilog="""\b
Examples:
  backbeat audit list --since 24h
  backbeat audit list --by kim --action cancel --json
  backbeat audit list --of 5d3f8a10-…           # a node, a workflow, or a job
  backbeat audit list --client shop
""",
)
@operating
@click.option("--by", metavar="NAME", default="", help="Only what this person did.")
@click.option("--client", metavar="NAME|ID", default="", help="Only what was done to this client application's.")
@click.option("--of", "subject_id", metavar="ID", default="", help="Only what was done to this, or in this workflow.")
@click.option("--action", metavar="WORD", default="", help="Only this: retry, cancel, pause, …")
@click.option("--since", type=Length(), metavar="LENGTH", help="Only what was done since: 24h.")
@click.option("--until", type=Length(), metavar="LENGTH", help="Only what was done before that: 1h.")
@click.option("--before", metavar="ID", default="", help="Only what is older than this entry, by its id.")
@click.option("--limit", type=click.IntRange(1, 20_000), default=100, show_default=True, help="How many at most.")
@json_option
def list_entries(
    connection: Connection,
    by: str,
    client: str,
    subject_id: str,
    action: str,
    since: timedelta | None,
    until: timedelta | None,
    before: str,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Show entries of the audit, newest first, of the newest 20,000. With --json: a line for each.

    They are read from the topic itself; as a person, who sees those that concern them, from a gateway.

    An entry without an outcome may have been done: nothing was heard of it.
    """
    now = datetime.now(UTC)
    options: AuditOptions = {
        "by": by,
        "of": subject_id,
        "action": action,
        "since": None if since is None else now - since,
        "until": None if until is None else now - until,
        "before": before,
        "limit": limit,
    }
    if connection.person is not None:
        entries = replace(connection, client=client).run(lambda caller: caller.audit(**options))
    else:
        entries = list(map(_shown, _read(connection.bootstrap_servers, client, options)))
    if as_json:
        for entry in entries:
            emit(msgspec.structs.asdict(entry))
        return
    rows = (
        (
            when(entry.at),
            f"{entry.actor} ({entry.way})",
            entry.action,
            entry.subject_name,
            ", ".join(entry.subjects),
            entry.reason,
            entry.outcome or "not known",
        )
        for entry in entries
    )
    if not print_table(("WHEN", "WHO", "WHAT", "OF", "ID", "WHY", "OUTCOME"), rows):
        note("There is none.")


def _shown(entry: Entry) -> AuditEntry:
    """An entry of the topic, as a gateway tells of it."""
    names = AuditEntry.__struct_fields__
    fields = {name: value for name, value in msgspec.structs.asdict(entry).items() if name in names}
    at = datetime.fromtimestamp(entry.at / 1_000, UTC)
    return AuditEntry(**{**fields, "at": at, "subjects": list(entry.subjects), "outcome": entry.outcome or None})


def _read(bootstrap_servers: str, client: str, options: AuditOptions) -> list[Entry]:
    """The entries that a gateway would know of, newest first. SetupError: there is no such client. Unavailable."""
    from backbeat.gateway.people.audit import Audit, EntryFilters
    from backbeat.gateway.people.visitor import DEVELOPER

    client_id = _client_id(bootstrap_servers, client) if client else ""
    trail = Audit(bootstrap_servers)
    with trail.follower:
        if not trail.follower.catch_up(_READ_SECONDS):
            raise Unavailable(trail.follower.problem or f"The audit was not read within {_READ_SECONDS:.0f} s.")
    since, until = options["since"], options["until"]
    filters = EntryFilters(
        actor=options["by"],
        action=options["action"],
        client_id=client_id,
        since=None if since is None else round(since.timestamp() * 1_000),
        until=None if until is None else round(until.timestamp() * 1_000),
    )
    return trail.newest(
        options["limit"], visitor=DEVELOPER, of=options["of"], before=options["before"], filters=filters
    )


def _client_id(bootstrap_servers: str, name_or_id: str) -> str:
    from backbeat.compose.cli.user.client import find_client
    from backbeat.schemas.kafka.client_registry import ClientRegistry

    with ClientRegistry(bootstrap_servers) as registry:
        return find_client(registry, name_or_id).id
