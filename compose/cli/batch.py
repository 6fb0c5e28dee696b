"""The same for many ids: some at a time, each told of, with a bar for people who wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from backbeat.compose.cli.exit_codes import Exit
from backbeat.compose.cli.show.printing import emit, make_console
from backbeat.compose.cli.show.sanitize import plain

if TYPE_CHECKING:
    from backbeat.errors import Rejected

#: Commands that are under way at the same time: enough that nobody waits for one answer, too few to be in others' way.
AT_ONCE = 32
#: From so many on a bar is shown, on a terminal.
_BAR_FROM = 20

Action = Callable[[str], Awaitable[object]]


@dataclass(frozen=True)
class Outcome:
    """What became of one id."""

    id: str
    #: None: it was done.
    refusal: Rejected | None = None


async def each(ids: Sequence[str], action: Action, run_sync: int = AT_ONCE) -> AsyncIterator[Outcome]:
    """Do it for every id, in their order; a refusal is an outcome, whatever else goes wrong ends it."""
    under_way: list[asyncio.Task[Outcome]] = []
    rest = iter(ids)

    async def one(identity: str) -> Outcome:
        from backbeat.errors import Rejected

        try:
            await action(identity)
        except Rejected as refusal:
            return Outcome(identity, refusal)
        return Outcome(identity)

    try:
        while True:
            while len(under_way) < run_sync and (identity := next(rest, None)) is not None:
                under_way.append(asyncio.create_task(one(identity)))
            if not under_way:
                return
            outcome = await under_way[0]
            del under_way[0]
            yield outcome
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def with_bar(outcomes: AsyncIterator[Outcome], total: int, title: str) -> AsyncIterator[Outcome]:
    """The outcomes, while a bar on standard error shows how many there were; no bar where nobody would see it."""
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    console = make_console(stderr=True)
    shown = console.is_terminal and total >= _BAR_FROM
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not shown, transient=True) as progress:
        bar = progress.add_task(title, total=total)
        async for outcome in outcomes:
            progress.advance(bar)
            yield outcome


def outcome_facts(outcome: Outcome) -> dict[str, object]:
    """An outcome for programs."""
    if outcome.refusal is None:
        return {"id": outcome.id, "done": True}
    refusal = outcome.refusal
    return {"id": outcome.id, "done": False, "reason": refusal.reason, "message": refusal.message}


async def change_all(ids: Sequence[str], action: Action, done: str, *, as_json: bool, run_sync: int = AT_ONCE) -> None:
    """Do it for every id and print what became of each; ends with exit code 1 where one was refused."""
    refused = 0
    async for outcome in with_bar(each(ids, action, run_sync), len(ids), done):
        refused += outcome.refusal is not None
        if as_json:
            emit(outcome_facts(outcome))
        elif outcome.refusal is None:
            click.echo(f"{outcome.id}  {done}")
        else:
            click.echo(f"{outcome.id}  refused: {plain(outcome.refusal.message)}", err=True)
    if refused:
        click.get_current_context().exit(Exit.FAILED)
