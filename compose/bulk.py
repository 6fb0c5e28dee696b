"""`backbeat retry`, `cancel` and `resolve`: the same change for all nodes that match."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from backbeat.compose.conditions import KEYS, Conditions, read_conditions
from backbeat.compose.connection import Connection
from backbeat.compose.exits import CommandError, Exit
from backbeat.compose.facts import node_facts
from backbeat.compose.journal import Head, Journal, usual_path
from backbeat.compose.many import AT_ONCE, each, outcome_facts, with_bar
from backbeat.compose.options import connected, json_option, yes_option
from backbeat.compose.output import emit, note, print_table
from backbeat.compose.references import read_value
from backbeat.compose.texts import plain

if TYPE_CHECKING:
    from backbeat import Client, Node

F = TypeVar("F", bound=Callable[..., Any])

_KEYS_HELP = "\n".join(f"  {key:<12} {meaning}" for key, meaning in KEYS.items())


def _bulk_options(command: F) -> F:
    for option in (
        json_option,
        yes_option,
        click.option("--at-once", type=click.IntRange(1, 1_000), default=AT_ONCE, show_default=True, metavar="N",
                     help="Changes that are under way at a time."),
        click.option("--resume", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
                     help="Go on with a journal, where it was left; nothing else need be said."),
        click.option("--journal", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
                     help="Where it is written down what is done.  [default: a new file in .backbeat/bulk]"),
        click.option("--dry-run", is_flag=True, help="Only say which nodes these are."),
        click.option("--where", multiple=True, metavar="KEY=VALUE", help="A condition; all must hold. Keys: above."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command(
    epilog="""\b
Examples:
  backbeat retry --where name="Charge card" --dry-run
  backbeat retry --where error="connection refused" --where since=2h --yes
  backbeat retry --resume .backbeat/bulk/retry-20261124T101500Z-5d3f8a10.jsonl
""",
    help=f"""Try all nodes again that match: those whose retries are exhausted, unless a status is named.

\b
--where KEY=VALUE, with these keys:
{_KEYS_HELP}

It counts them, asks, and writes a journal: should it be stopped, --resume goes on, and nothing is done twice.
With --json: a line for each node.
""",
)
@connected
@_bulk_options
def retry(connection: Connection, where: tuple[str, ...], **how: Any) -> None:
    """Retry all nodes that match."""
    _run("retry", connection, where, "retries_exhausted", None, **how)


@click.command(
    epilog="""\b
Examples:
  backbeat cancel --where workflow="Camera sale" --where status=ready --dry-run
  backbeat cancel --where workflow-id=5d3f8a10-… --where status=retrying --yes
""",
    help=f"""Deactivate all nodes that match and everything below them; what waited for them goes on.

\b
--where KEY=VALUE, with these keys (status is needed):
{_KEYS_HELP}

It counts them, asks, and writes a journal: should it be stopped, --resume goes on, and nothing is done twice.
With --json: a line for each node.
""",
)
@connected
@_bulk_options
def cancel(connection: Connection, where: tuple[str, ...], **how: Any) -> None:
    """Cancel all nodes that match."""
    _run("cancel", connection, where, None, None, **how)


@click.command(
    epilog="""\b
Examples:
  backbeat resolve --where name="Send mail" --where until=7d --dry-run
  backbeat resolve --where error="no such customer" --response '{"resolved by": "ann"}'
""",
    help=f"""Count all nodes that match as done, though their retries are exhausted; their trees go on.

\b
--where KEY=VALUE, with these keys:
{_KEYS_HELP}

It counts them, asks, and writes a journal: should it be stopped, --resume goes on, and nothing is done twice.
With --json: a line for each node.
""",
)
@connected
@click.option("--response", metavar="VALUE", help="What is kept as their response: JSON, else text.")
@_bulk_options
def resolve(connection: Connection, where: tuple[str, ...], response: str | None, **how: Any) -> None:
    """Resolve all nodes that match."""
    text = None if response is None else msgspec.json.encode(read_value(response)).decode()
    _run("resolve", connection, where, "retries_exhausted", text, **how)


def _run(
    command: str,
    connection: Connection,
    where: tuple[str, ...],
    usual_status: str | None,
    response: str | None,
    *,
    dry_run: bool,
    journal: Path | None,
    resume: Path | None,
    at_once: int,
    yes: bool,
    as_json: bool,
) -> None:
    if resume is not None:
        if where or dry_run or journal is not None:
            raise click.UsageError("--resume FILE says all of it: leave --where, --dry-run and --journal out")
        begun = _load(resume, command, connection)
        connection.run(lambda client: _change(client, begun, at_once, as_json=as_json))
        return
    if not where:
        raise click.UsageError("give at least one --where KEY=VALUE, or --resume FILE")
    conditions = read_conditions(where, usual_status)
    if "status" not in conditions.said:
        raise click.UsageError("--where status=… is needed here: complete nodes would be deactivated, too")

    async def begin(client: Client) -> None:
        found = await _plan(client, conditions, shows=dry_run, as_json=as_json)
        if dry_run or not found:
            note(f"{len(found)} nodes match" + ("; nothing was changed." if found else "."))
            return
        _confirm(command, len(found), yes=yes)
        run = os.urandom(4).hex()
        head = Head(
            command=command,
            where=conditions.said,
            client=connection.client,
            run=run,
            count=len(found),
            begun_at=datetime.now(UTC),
            response=response,
        )
        written = Journal.begin(journal or usual_path(command, run), head, found)
        await _change(client, written, at_once, as_json=as_json)

    connection.run(begin)


async def _plan(client: Client, conditions: Conditions, *, shows: bool, as_json: bool) -> list[str]:
    """The ids of the nodes that match; a summary for people, or with `shows` all of them."""
    found: list[str] = []
    names: Counter[tuple[str, str, str]] = Counter()
    async for node in conditions.find(client):
        found.append(node.id)
        names[_group(node)] += 1
        if shows and as_json:
            emit(node_facts(node))
        elif shows:
            click.echo(f"{node.id}  {node.status}  {plain(node.name)}  {plain(node.workflow_name)}")
    if not as_json and found:
        print_table(
            ("NODES", "NAME", "WORKFLOW", "STATUS"),
            ((str(count), *group) for group, count in names.most_common()),
        )
    return found


def _group(node: Node) -> tuple[str, str, str]:
    return node.name, node.workflow_name, node.status


def _confirm(command: str, count: int, *, yes: bool) -> None:
    """Ask for the number, not for a letter: a finger that is quicker than the eye types `y`."""
    if yes:
        return
    if not click.get_text_stream("stdin").isatty():
        raise click.UsageError(f"{count} nodes match. Nobody can be asked here: say --yes if that is meant")
    said = click.prompt(f"To {command} these {count} nodes, type their number", err=True)
    if said.strip() != str(count):
        raise CommandError("That is not their number; nothing was changed.")


def _load(path: Path, command: str, connection: Connection) -> Journal:
    journal = Journal.load(path)
    if journal.head.command != command:
        raise click.UsageError(f"{path} is of `backbeat {journal.head.command}`: use that to go on")
    if journal.head.client != connection.client:
        raise click.UsageError(f"{path} is of --client {journal.head.client}: say so to go on")
    return journal


async def _change(client: Client, journal: Journal, at_once: int, *, as_json: bool) -> None:
    """Change what is left, and write down each."""
    head, left = journal.head, journal.left
    note(f"Journal: {journal.path}" + ("" if len(left) == head.count else f" ({len(left)} of {head.count} left)"))
    action = _action(client, journal)
    with journal:
        try:
            async for outcome in with_bar(each(left, action, at_once), len(left), head.command):
                journal.write(outcome)
                if as_json:
                    emit(outcome_facts(outcome))
                elif outcome.refusal is not None:
                    note(f"{outcome.id}  refused: {plain(outcome.refusal.message)}")
        except BaseException:
            note(f"{len(journal.left)} nodes are left. To go on: backbeat {head.command} --resume {journal.path}")
            raise
    changed, refused = journal.counts
    if not as_json:
        click.echo(f"{changed} done, {refused} refused, of {head.count}.")
    if refused:
        click.get_current_context().exit(Exit.FAILED)


def _action(client: Client, journal: Journal) -> Callable[[str], Awaitable[None]]:
    response = None if journal.head.response is None else msgspec.json.decode(journal.head.response)
    match journal.head.command:
        case "retry":
            return lambda one: client.retry(one, idempotency_key=journal.key(one))
        case "cancel":
            return lambda one: client.cancel(one, idempotency_key=journal.key(one))
        case "resolve":
            return lambda one: client.resolve(one, response, idempotency_key=journal.key(one))
        case other:
            raise click.UsageError(f"the journal is of a command that is not known: {other!r}")
