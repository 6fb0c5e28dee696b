"""Progress of a job: a bar for people who wait, lines for programs, and the command's exit code."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import click

from backbeat.compose.cli.exit_codes import Exit
from backbeat.compose.cli.show.printing import emit, make_console, note
from backbeat.compose.cli.show.rows import job_row
from backbeat.compose.cli.show.sanitize import plain

if TYPE_CHECKING:
    from backbeat import Client
    from backbeat.client.jobs.views import Job

_POLL_SECONDS = 0.5
#: The first polls come sooner: most jobs are short.
_POLL_SECONDS_FIRST = 0.05


async def follow_job(
    client: Client, started: Job, expected: int | None = None, *, all_clients: bool, as_json: bool
) -> Job:
    """The job once it has ended; with `as_json` a line is printed whenever it has moved.

    `expected` is the number of changes, for the bar on a terminal.
    """
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from backbeat.errors import Timeout

    console = make_console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    printed_row = None
    pause = _POLL_SECONDS_FIRST
    title = f"{started.action}{' (counting)' if started.dry_run else ''}"
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task(title, total=expected)
        job = started
        while True:
            # Of a dry run, examined nodes are progress; else those that were changed, or refused.
            progress.update(bar, completed=job.examined if started.dry_run else job.done + job.refused)
            if as_json and (row := job_row(job)) != printed_row:
                printed_row = row
                emit(row)
            if job.ended:
                return job
            await asyncio.sleep(pause)
            pause = min(2 * pause, _POLL_SECONDS)
            # An engine that starts, or a partition that moves, only makes it later.
            with contextlib.suppress(Timeout):
                job = await client.jobs.get(job.id, all_clients=all_clients)


def print_ended(job: Job) -> None:
    """Print the outcome of a job that has ended."""
    for refusal in job.refusals:
        note(f"{refusal.id}  refused: {plain(refusal.message)}")
    unlisted = job.refused - len(job.refusals)
    if unlisted > 0:
        note(f"… and {unlisted} more.")
    stopped = "" if job.state != "stopped" else "; it was stopped"
    click.echo(f"{job.done} done, {job.refused} refused, of {job.matched}{stopped}.")


def end_with(job: Job) -> None:
    """End with exit code 1 where anything was refused, or the job was stopped."""
    if job.refused or job.state == "stopped":
        click.get_current_context().exit(Exit.FAILED)
