"""`backbeat job`, and `backbeat retry`, `cancel`, `resolve`: one change for all that match, made by the engine."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from backbeat.compose.cli.conditions import KEYS, conditions_text, read_conditions
from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.exit_codes import CommandError
from backbeat.compose.cli.options import acting, add_options, as_option, connected, json_option, yes_option
from backbeat.compose.cli.references import read_value
from backbeat.compose.cli.show.follow_job import end_with, follow_job, print_ended
from backbeat.compose.cli.show.printing import emit, note, print_fields, print_table, when
from backbeat.compose.cli.show.rows import job_row
from backbeat.compose.cli.user.deeds import Deed

if TYPE_CHECKING:
    from backbeat import Client
    from backbeat.client.jobs.views import Job

F = TypeVar("F", bound=Callable[..., Any])

_ACTIONS = ("retry", "resolve", "shutdown", "cancel", "pause", "resume")
_OF_WORKFLOWS = ("pause", "resume")
_KEYS_HELP = "\n".join(f"  {key:<14} {meaning}" for key, meaning in KEYS.items())
_ABOUT = f"""
\b
--where KEY=VALUE, with these keys:
{_KEYS_HELP}

It counts them, asks, and has the engine do it: each once, whatever is killed. Ctrl-C leaves the job running.
"""

_job_argument = click.argument("job_id", type=click.UUID, metavar="ID")
_follow_option = click.option("--follow", "-f", is_flag=True, help="Watch it until it has ended.")
_where_option = click.option("--where", multiple=True, metavar="KEY=VALUE", help="A condition; all must hold.")
_all_option = click.option("--all", "everything", is_flag=True, help="Every one, where no condition is given.")
_note_option = click.option("--note", "why", default="", metavar="TEXT", help="Why: it is kept with the job.")
_dry_run_option = click.option("--dry-run", is_flag=True, help="Only count them, and show some.")
_all_clients_option = click.option(
    "--all-clients", is_flag=True, help="Over Kafka: of all client applications, whoever asks."
)
_response_option = click.option(
    "--response", metavar="VALUE", help="What nodes that are resolved or shut down keep: JSON, else text."
)


@click.group()
def job() -> None:
    """One change for all nodes, or workflows, that match: start it, watch it, stop it."""


@job.command(
    epilog="""\b
Examples:
  backbeat job start retry --where name="Charge card" --dry-run
  backbeat job start retry --where error="connection refused" --where since=2h --yes
  backbeat job start pause --where workflow="Camera sale" --follow
""",
    help=f"""Start a job. ACTION is one of {", ".join(_ACTIONS)}; pause and resume are about workflows.

retry, resolve and shutdown mean nodes whose retries are exhausted, unless a status is named; cancel needs one.
{_ABOUT}""",
)
@click.argument("action", type=click.Choice(_ACTIONS), metavar="ACTION")
@connected
@as_option
@_where_option
@_all_option
@_all_clients_option
@_response_option
@_note_option
@_dry_run_option
@_follow_option
@click.option("--id", "job_id", type=click.UUID, metavar="ID", help="Its id: started again under it, it is the same.")
@yes_option
@json_option
def start(action: str, connection: Connection, where: tuple[str, ...], **options: Any) -> None:
    """Start a job."""
    _start(action, connection, where, **options)


def _shortcut(action: str, summary: str, example: str) -> Callable[[F], click.Command]:
    """The command that starts a job of this action and follows it."""

    def make(run: F) -> click.Command:
        options = (
            *(connected, as_option, _where_option, _all_option, _all_clients_option, _note_option, _dry_run_option),
            *(yes_option, json_option),
        )
        text = f"{summary}\n\nThe same as `backbeat job start {action} --follow`.\n{_ABOUT}"
        return click.command(name=action, help=text, epilog=f"Example: backbeat {action} {example}")(
            add_options(*options)(run)
        )

    return make


@_shortcut(
    "retry",
    "Try all nodes again that match: those whose retries are exhausted, unless a status is named.",
    '--where error="connection refused" --where since=2h',
)
def retry(connection: Connection, where: tuple[str, ...], **options: Any) -> None:
    """Retry all nodes that match."""
    _start("retry", connection, where, follow=True, **options)


@_shortcut(
    "cancel",
    "Cancel all nodes that match and everything below them; a status must be named.",
    '--where workflow="Camera sale" --where status=ready --dry-run',
)
def cancel(connection: Connection, where: tuple[str, ...], **options: Any) -> None:
    """Cancel all nodes that match."""
    _start("cancel", connection, where, follow=True, **options)


@_shortcut(
    "resolve",
    "Count all nodes that match as done, though their retries are exhausted; their trees go on.",
    """--where error="no such customer" --response '{"resolved by": "ann"}'""",
)
@_response_option
def resolve(connection: Connection, where: tuple[str, ...], **options: Any) -> None:
    """Resolve all nodes that match."""
    _start("resolve", connection, where, follow=True, **options)


def _start(
    action: str,
    connection: Connection,
    where: tuple[str, ...],
    *,
    dry_run: bool,
    follow: bool,
    all_clients: bool,
    yes: bool,
    as_json: bool,
    everything: bool,
    why: str,
    response: str | None = None,
    job_id: uuid.UUID | None = None,
) -> None:
    conditions = read_conditions(where)
    narrowing = conditions.keys() - {"client"}
    if everything and narrowing:
        raise click.UsageError("--all and conditions contradict each other: give --where, or --all")
    if not everything and not narrowing:
        # A client application alone is no condition on the nodes.
        raise click.UsageError("give at least one --where KEY=VALUE beside client=…, or --all if every one is meant")
    job_options = {**conditions, "all": everything, "all_clients": all_clients, "note": why}
    if action == "cancel" and "current_status" not in job_options:
        raise click.UsageError("--where status=… is needed here: complete nodes would be canceled, too")
    if response is not None:
        job_options["response"] = read_value(response)
    noun = "workflows" if action in _OF_WORKFLOWS else "nodes"

    async def count_and_start(client: Client) -> None:
        counted = await client.jobs.start(action, dry_run=True, **job_options)
        counted = await follow_job(client, counted, all_clients=all_clients, as_json=False)
        if dry_run and as_json:
            emit(job_row(counted))
        elif not as_json:
            _print_matches(counted)
        # A job that was begun before is completed, whatever is left for it to do.
        if dry_run or (not counted.matched and job_id is None):
            note(f"{counted.matched} {noun} match" + ("; nothing was changed." if counted.matched else "."))
            return
        _confirm(action, counted.matched, noun, yes=yes)
        started_id = job_id or uuid.uuid4()
        deed = Deed(action=action, kind="job", subjects=[str(started_id)], name=" ".join(where) or "all", reason=why)
        async with connection.written(client, deed):
            started = await client.jobs.start(action, job_id=started_id, **job_options)
        if follow:
            await _watch(client, started, counted.matched, all_clients=all_clients, as_json=as_json)
            return
        if as_json:
            emit(job_row(started))
        else:
            click.echo(started.id)
        note(_commands_text(started.id, all_clients=all_clients))

    connection.because(why).run(count_and_start)


def _print_matches(counted: Job) -> None:
    print_table(("ID", "NAME", "WORKFLOW"), ((match.id, match.name, match.workflow_name) for match in counted.matches))
    unlisted = counted.matched - len(counted.matches)
    if unlisted > 0:
        note(f"… and {unlisted} more.")


def _confirm(action: str, count: int, noun: str, *, yes: bool) -> None:
    """Ask for the number, not for a letter: a quick finger types `y` before the number is read."""
    if yes:
        return
    if not click.get_text_stream("stdin").isatty():
        raise click.UsageError(f"{count} {noun} match. Nobody can be asked here: say --yes if that is meant")
    answer = click.prompt(f"To {action} these {count} {noun}, type their number", err=True)
    if answer.strip() != str(count):
        raise CommandError("That is not their number; nothing was changed.")


async def _watch(client: Client, started: Job, expected: int | None, *, all_clients: bool, as_json: bool) -> None:
    """Follow a job to its end; at an interruption tell that the job goes on."""
    try:
        ended = await follow_job(client, started, expected, all_clients=all_clients, as_json=as_json)
    except BaseException:
        note(f"The job goes on. {_commands_text(started.id, all_clients=all_clients)}")
        raise
    if not as_json:
        print_ended(ended)
    end_with(ended)


def _commands_text(job_id: str, *, all_clients: bool) -> str:
    arguments = f"{job_id} --all-clients" if all_clients else job_id
    return f"To watch it: backbeat job show {arguments} --follow; to stop it: backbeat job stop {arguments}"


@job.command("list", epilog="Example: backbeat job list --json")
@connected
@_all_clients_option
@json_option
def list_(connection: Connection, *, all_clients: bool, as_json: bool) -> None:
    """The jobs of the client application, newest first; those that ended within the last 7 days, too.

    With --json: a line for each.
    """
    jobs = connection.run(lambda client: client.jobs.list(all_clients=all_clients))
    if as_json:
        for job in jobs:
            emit(job_row(job))
        return
    rows = (
        (
            job.id,
            job.state,
            job.action + (" (dry run)" if job.dry_run else ""),
            when(job.started_at),
            *(str(count) for count in (job.matched, job.done, job.refused)),
            conditions_text(job.filters),
        )
        for job in jobs
    )
    if not print_table(("ID", "STATE", "ACTION", "STARTED", "MATCHED", "DONE", "REFUSED", "WHERE"), rows):
        note("There are no jobs.")


@job.command(epilog="Example: backbeat job show 0f6b1a52-… --follow")
@_job_argument
@connected
@_all_clients_option
@_follow_option
@json_option
def show(job_id: uuid.UUID, connection: Connection, *, all_clients: bool, follow: bool, as_json: bool) -> None:
    """Show a job: how far it is, and what was refused. With --json: a line; with --follow one whenever it moves."""

    async def run(client: Client) -> None:
        job = await client.jobs.get(job_id, all_clients=all_clients)
        if follow and not job.ended:
            await _watch(client, job, None, all_clients=all_clients, as_json=as_json)
        elif as_json:
            emit(job_row(job))
        else:
            _print_job(job)

    connection.run(run)


def _print_job(job: Job) -> None:
    print_fields(
        [
            ("id", job.id),
            ("action", job.action + (" (dry run)" if job.dry_run else "")),
            ("where", conditions_text(job.filters)),
            ("state", job.state),
            ("by", job.actor),
            ("why", job.note),
            ("started", when(job.started_at)),
            ("ended", when(job.ended_at)),
            ("examined", f"{job.examined:,}"),
            ("matched", f"{job.matched:,}"),
            ("done", f"{job.done:,}"),
            ("refused", f"{job.refused:,}"),
        ]
    )
    print_table(("ID", "REFUSED BECAUSE"), ((refusal.id, refusal.message) for refusal in job.refusals))
    if job.state == "partial":
        note(f"Some partitions were never asked: start it again as it was, with --id {job.id}")


@job.command(epilog="Example: backbeat job stop 0f6b1a52-…")
@_job_argument
@acting
@_all_clients_option
@json_option
def stop(job_id: uuid.UUID, connection: Connection, *, all_clients: bool, as_json: bool) -> None:
    """Have a job go no further; what it has done stays."""
    deed = Deed(action="stop", kind="job", subjects=[str(job_id)])
    job = connection.change(deed, lambda client: client.jobs.stop(job_id, all_clients=all_clients))
    if as_json:
        emit(job_row(job))
    else:
        print_ended(job)
