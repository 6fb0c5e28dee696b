"""`backbeat schedule`: workflows that are signalled at times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.durations import Length, Moment
from backbeat.compose.cli.options import acting, as_option, connected, json_option
from backbeat.compose.cli.references import read_value
from backbeat.compose.cli.show.printing import ago, emit, how_long, json_text, note, print_fields, print_table, when
from backbeat.compose.cli.show.rows import schedule_row
from backbeat.compose.cli.show.sanitize import plain
from backbeat.compose.cli.signal_options import read_run_options, run_options
from backbeat.compose.cli.user.deeds import Deed
from backbeat.schemas.messages.schedules import OVERLAP_WORDS

if TYPE_CHECKING:
    from backbeat import Client
    from backbeat.client.schedules.views import Run, Schedule

_NEXT_RUNS = 5
_STYLES = {"ended": "green", "running": "yellow", "queued": "dim", "skipped": "dim", "missed": "red"}

_name_argument = click.argument("name", metavar="NAME")
_overlap_option = click.option(
    "--overlap",
    type=click.Choice(tuple(OVERLAP_WORDS)),
    help="What is done where an earlier run has not ended.",
)
_note_option = click.option("--note", "because", default="", metavar="TEXT", help="Why; kept with the schedule.")
_key_option = click.option("--key", "idempotency_key", help="A repeat with the same key runs nothing again.")


def _deed(action: str, name: str) -> Deed:
    return Deed(action=action, kind="schedule", subjects=[name], name=name)


@click.group()
def schedule() -> None:
    """Signal workflows at times: make, list, show, pause, resume, trigger, backfill and delete schedules.

    A schedule is known by its NAME, of which a client application has one (docs/how-to/schedules.md).
    """


@schedule.command(
    epilog="""\b
Examples:
  backbeat schedule create nightly Reports "night of {scheduled_at}" "Make report" \\
    --cron "30 2 * * *" --zone Europe/Berlin
  backbeat schedule create ping Checks 703 Ping --every 15m --overlap cancel --catch-up 1h --retries 0
"""
)
@_name_argument
@click.argument("workflow", metavar="WORKFLOW")
@click.argument("subject", metavar="SUBJECT")
@click.argument("signal", metavar="SIGNAL")
@acting
@click.option("--cron", metavar="FIELDS", help="Minute, hour, day of month, month, day of week.")
@click.option("--zone", metavar="ZONE", help="The time zone that they are read in.  [default: UTC]")
@click.option("--every", type=Length(), help="An interval, instead of --cron.")
@click.option("--offset", type=Length(), help="Count the intervals from so long after the epoch.  [default: 0s]")
@click.option(
    "--overlap",
    type=click.Choice(tuple(OVERLAP_WORDS)),
    help="What is done with a run that is due while an earlier one has not ended.  [default: skip]",
)
@click.option("--catch-up", type=Length(), help="A run that is later than this is missed.  [default: 1d]")
@click.option("--paused/--not-paused", default=None, help="Whether it is paused.  [default: as it is]")
@run_options
@json_option
def create(
    name: str,
    workflow: str,
    subject: str,
    signal: str,
    connection: Connection,
    cron: str | None,
    zone: str | None,
    every: timedelta | None,
    offset: timedelta | None,
    overlap: Any,
    catch_up: timedelta | None,
    *,
    paused: bool | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a schedule, or change the one of this name, which keeps what it has done.

    SUBJECT is JSON, or else text. In it, {scheduled_at} stands for the time of a run, so that each run is a workflow of
    its own; without it all runs are in one, one after the other.
    """
    if (cron is None) == (every is None):
        raise click.UsageError("give --cron or --every")
    signal_options = read_run_options(options)

    async def run(client: Client) -> Schedule:
        return await client.schedules.put(
            name,
            workflow,
            read_value(subject),
            signal,
            cron=cron,
            zone=zone,
            every=every,
            offset=offset,
            overlap=overlap,
            catch_up=catch_up,
            paused=paused,
            **signal_options,
        )

    _show(connection.change(_deed("create", name), run), as_json=as_json)


@schedule.command("list", epilog="Example: backbeat schedule list --json | jq 'select(.paused)'")
@connected
@json_option
def list_(connection: Connection, *, as_json: bool) -> None:
    """List the client application's schedules. With --json: a line for each."""
    schedules = connection.run(lambda client: client.schedules.list())
    if as_json:
        for schedule in schedules:
            emit(schedule_row(schedule))
        return
    count = print_table(
        ("NAME", "WHEN", "SIGNALS", "STATE", "NEXT", "LAST"), (_row(schedule) for schedule in schedules)
    )
    if not count:
        note("There is none. Make one: backbeat schedule create --help")


def _row(schedule: Schedule) -> tuple[str | Text, ...]:
    last_run = schedule.running[-1] if schedule.running else schedule.past[-1] if schedule.past else None
    return (
        schedule.name,
        _times(schedule),
        f"{schedule.workflow}: {schedule.signal}",
        _state(schedule),
        when(schedule.next_run),
        ""
        if last_run is None
        else Text(f"{when(last_run.last_at)} {last_run.state}", style=_STYLES.get(last_run.state, "default")),
    )


@schedule.command(epilog="Example: backbeat schedule show nightly")
@_name_argument
@connected
@json_option
def show(name: str, connection: Connection, *, as_json: bool) -> None:
    """Show a schedule: what it is, its next runs, those that run or wait, and the newest of the others."""
    _show(connection.run(lambda client: client.schedules.get(name)), as_json=as_json)


@schedule.command(epilog="Example: backbeat schedule pause nightly --note 'the bank is closed'")
@_name_argument
@connected
@as_option
@_note_option
@json_option
def pause(name: str, connection: Connection, *, as_json: bool) -> None:
    """Let nothing be due until it is resumed. What runs goes on, what is queued waits."""
    connection.change(_deed("pause", name), lambda client: client.schedules.pause(name, connection.reason))
    _done(name, "paused", as_json=as_json)


@schedule.command(epilog="Example: backbeat schedule resume nightly")
@_name_argument
@connected
@as_option
@_note_option
@json_option
def resume(name: str, connection: Connection, *, as_json: bool) -> None:
    """Go on with a paused schedule from now. What would have been due meanwhile is not made up for: see backfill."""
    connection.change(_deed("resume", name), lambda client: client.schedules.resume(name, connection.reason))
    _done(name, "resumed", as_json=as_json)


@schedule.command(epilog="Example: backbeat schedule trigger nightly --overlap allow")
@_name_argument
@acting
@_overlap_option
@_key_option
@json_option
def trigger(name: str, connection: Connection, overlap: Any, idempotency_key: str | None, *, as_json: bool) -> None:
    """Run it now, also where it is paused; as the schedule's own overlap lets it, unless another is given."""
    _show(
        connection.change(
            _deed("trigger", name),
            lambda client: client.schedules.trigger(name, overlap=overlap, idempotency_key=idempotency_key),
        ),
        as_json=as_json,
    )


@schedule.command(
    epilog="""\b
Examples:
  backbeat schedule backfill nightly 2026-03-01 2026-03-31T23:59:59Z
  backbeat schedule backfill nightly 3d 1h --overlap allow
"""
)
@_name_argument
@click.argument("start", type=Moment(), metavar="START")
@click.argument("end", type=Moment(), metavar="END")
@acting
@_overlap_option
@_key_option
@json_option
def backfill(
    name: str,
    start: datetime,
    end: datetime,
    connection: Connection,
    overlap: Any,
    idempotency_key: str | None,
    *,
    as_json: bool,
) -> None:
    """Run it for each of its times from START to END: times, or how long ago. 1,000 at most.

    They are run whether they were run before or not, one after the other unless another overlap is given.
    """
    _show(
        connection.change(
            _deed("backfill", name),
            lambda client: client.schedules.backfill(
                name, start, end, overlap=overlap, idempotency_key=idempotency_key
            ),
        ),
        as_json=as_json,
    )


@schedule.command(epilog="Example: backbeat schedule delete nightly")
@_name_argument
@acting
@json_option
def delete(name: str, connection: Connection, *, as_json: bool) -> None:
    """Forget a schedule. What it has started goes on."""
    connection.change(_deed("delete", name), lambda client: client.schedules.delete(name))
    _done(name, "deleted", as_json=as_json)


# --- printing --------------------------------------------------------------------------------------------------------


def _done(name: str, change: str, *, as_json: bool) -> None:
    emit({"name": name, "done": change}) if as_json else click.echo(f"{plain(name)} is {change}")


def _times(schedule: Schedule) -> str:
    if schedule.every is not None:
        return f"every {schedule.every}" + (f" + {schedule.offset}" if schedule.offset else "")
    return f"{schedule.cron} {schedule.zone}"


def _state(schedule: Schedule) -> Text:
    if schedule.problem:
        return Text("cannot be read", style="red")
    if schedule.paused:
        return Text("paused", style="magenta")
    if schedule.running:
        waiting = f", {schedule.queued_count} queued" if schedule.queued_count else ""
        return Text(f"{len(schedule.running)} running{waiting}", style="yellow")
    return Text("waiting")


def _show(schedule: Schedule, *, as_json: bool) -> None:
    if as_json:
        emit(schedule_row(schedule))
        return
    print_fields(
        [
            ("name", schedule.name),
            ("id", schedule.id),
            ("when", _times(schedule)),
            ("signals", f"{schedule.workflow} {json_text(schedule.subject)}: {schedule.signal}"),
            ("client data", json_text(schedule.client_data)),
            ("overlap", schedule.overlap),
            ("catch-up", str(schedule.catch_up)),
            ("state", _state(schedule)),
            ("problem", schedule.problem),
            ("note", schedule.note),
            ("runs", f"{schedule.started} started, {schedule.skipped} skipped, {schedule.missed} missed"),
            ("next", _next(schedule)),
        ]
    )
    runs = sorted((*schedule.past, *schedule.running, *schedule.queued), key=lambda run: run.scheduled_at)
    if runs:
        click.echo()
        print_table(("SCHEDULED", "STATE", "WHY", "STARTED", "NODE"), (_run_row(run) for run in runs))


def _next(schedule: Schedule) -> str:
    times = schedule.next_runs(_NEXT_RUNS)
    if not times:
        return ""
    seconds = (times[0] - datetime.now(UTC)).total_seconds()
    relative = f" (in {how_long(seconds)})" if seconds > 0 else ""
    return f"{when(times[0])}{relative}" + "".join(f", {when(at)}" for at in times[1:])


def _run_row(run: Run) -> tuple[str | Text, ...]:
    range_text = f" and {run.count - 1} more, up to {when(run.last_at)}" if run.count > 1 else ""
    return (
        f"{when(run.scheduled_at)}{range_text}",
        Text(run.state, style=_STYLES.get(run.state, "default")),
        run.cause,
        "" if run.started_at is None else ago(run.started_at),
        run.node_id or "",
    )
