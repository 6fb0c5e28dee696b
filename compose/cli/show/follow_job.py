"""A job is watched: a bar for people who wait, lines for programs, and how the command ends."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import click

from backbeat.compose.cli.exit_codes import Exit
from backbeat.compose.cli.show.printing import emit, make_console, note
from backbeat.compose.cli.show.rows import job_facts
from backbeat.compose.cli.show.sanitize import plain

if TYPE_CHECKING:
    from backbeat import Client
    from backbeat.client.jobs.views import Job

_LOOK_SECONDS = 0.5
#: The first looks come sooner: most jobs are short.
_FIRST_LOOK_SECONDS = 0.05


async def follow_job(
    client: Client, started: Job, expected: int | None = None, *, all_clients: bool, as_json: bool
) -> Job:
    """Look at a job until it has ended, and give it as it is then; with `as_json` a line whenever it has moved.

    `expected` is how many are to be changed, for the bar on a terminal.
    """
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from backbeat.errors import Timeout

    console = make_console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    said = None
    pause = _FIRST_LOOK_SECONDS
    title = f"{started.action}{' (counting)' if started.dry_run else ''}"
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task(title, total=expected)
        found = started
        while True:
            # What counts is looked at; what changes is done, or refused.
            progress.update(bar, completed=found.examined if started.dry_run else found.done + found.refused)
            if as_json and (facts := job_facts(found)) != said:
                said = facts
                emit(facts)
            if found.ended:
                return found
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LOOK_SECONDS)
            # An engine that starts, or a partition that moves, only makes it later.
            with contextlib.suppress(Timeout):
                found = await client.jobs.get(found.id, all_clients=all_clients)


def print_ended(found: Job) -> None:
    """What came of it."""
    for refusal in found.refusals:
        note(f"{refusal.id}  refused: {plain(refusal.message)}")
    more = found.refused - len(found.refusals)
    if more > 0:
        note(f"… and {more} more.")
    stopped = "" if found.state != "stopped" else "; it was stopped"
    click.echo(f"{found.done} done, {found.refused} refused, of {found.matched}{stopped}.")


def end_with(found: Job) -> None:
    """Exit code 1 where anything was refused, or it was stopped."""
    if found.refused or found.state == "stopped":
        click.get_current_context().exit(Exit.FAILED)
