"""`backbeat audit`: what people did in the console, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click
import msgspec

from backbeat.compose.cli.durations import Length
from backbeat.compose.cli.options import bootstrap_option, json_option
from backbeat.compose.cli.show.printing import emit, note, print_table, when
from backbeat.errors import Unavailable

if TYPE_CHECKING:
    from backbeat.gateway.people.audit import Entry

_READ_SECONDS = 60.0


@click.group()
def audit() -> None:
    """Show what people did in the console, and why."""


@audit.command(
    "list",
    epilog="""\b
Examples:
  backbeat audit list --since 24h
  backbeat audit list --by kim --action cancel --json
  backbeat audit list --of 5d3f8a10-…           # a node, a workflow, or a job
""",
)
@bootstrap_option
@click.option("--by", metavar="NAME", default="", help="Only what this person did.")
@click.option("--of", "subject_id", metavar="ID", default="", help="Only what was done to this, or in this workflow.")
@click.option("--action", metavar="WORD", default="", help="Only this: retry, cancel, pause, …")
@click.option("--since", type=Length(), metavar="LENGTH", help="Only what was done since: 24h.")
@click.option("--limit", type=click.IntRange(1, 20_000), default=100, show_default=True, help="How many at most.")
@json_option
def list_entries(
    bootstrap_servers: str,
    by: str,
    subject_id: str,
    action: str,
    since: timedelta | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Show entries of the audit, newest first, from the topic itself: the newest 20,000. With --json: a line for each.

    An entry without an outcome may have been done: nothing was heard of it.
    """
    earliest = 0.0 if since is None else (datetime.now(UTC) - since).timestamp() * 1_000
    entries = [
        entry
        for entry in _read(bootstrap_servers)
        if entry.at >= earliest
        and (not by or entry.actor == by)
        and (not action or entry.action == action)
        and (not subject_id or subject_id in (*entry.subjects, entry.workflow_id))
    ][:limit]
    if as_json:
        for entry in entries:
            emit({**msgspec.structs.asdict(entry), "at": _at(entry)})
        return
    rows = (
        (
            when(_at(entry)),
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


def _at(entry: Entry) -> datetime:
    return datetime.fromtimestamp(entry.at / 1_000, UTC)


def _read(bootstrap_servers: str) -> list[Entry]:
    """All entries that a gateway would know, newest first. Unavailable."""
    from backbeat.gateway.people.audit import ENTRIES_MAX, Audit
    from backbeat.gateway.people.visitor import DEVELOPER

    trail = Audit(bootstrap_servers)
    with trail.follower:
        if not trail.follower.catch_up(_READ_SECONDS):
            raise Unavailable(trail.follower.problem or f"The audit was not read within {_READ_SECONDS:.0f} s.")
    return trail.newest(ENTRIES_MAX, visitor=DEVELOPER)
