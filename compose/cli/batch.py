"""Operation over many ids: some at a time, an outcome each, with a bar for people who wait."""

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

#: Commands that are under way at the same time: enough that no answer is waited for, too few to be in others' way.
CONCURRENCY = 32
#: Number of ids from which on a bar is shown, on a terminal.
_BAR_FROM = 20

Action = Callable[[str], Awaitable[object]]


@dataclass(frozen=True)
class Outcome:
    """Outcome of the operation on one id."""

    id: str
    #: None: it was done.
    refusal: Rejected | None = None


async def run_each(ids: Sequence[str], action: Action, concurrency: int = CONCURRENCY) -> AsyncIterator[Outcome]:
    """Run the action for every id, in their order; a refusal is an outcome, any other error ends it."""
    under_way: list[asyncio.Task[Outcome]] = []
    remaining = iter(ids)

    async def run(identity: str) -> Outcome:
        from backbeat.errors import Rejected

        try:
            await action(identity)
        except Rejected as refusal:
            return Outcome(identity, refusal)
        return Outcome(identity)

    try:
        while True:
            while len(under_way) < concurrency and (identity := next(remaining, None)) is not None:
                under_way.append(asyncio.create_task(run(identity)))
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
    """The outcomes, while a bar on standard error counts them; no bar where nobody would see it."""
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    console = make_console(stderr=True)
    is_visible = console.is_terminal and total >= _BAR_FROM
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not is_visible, transient=True) as progress:
        bar = progress.add_task(title, total=total)
        async for outcome in outcomes:
            progress.advance(bar)
            yield outcome


def outcome_row(outcome: Outcome) -> dict[str, object]:
    """JSON row of an outcome."""
    if outcome.refusal is None:
        return {"id": outcome.id, "done": True}
    refusal = outcome.refusal
    return {"id": outcome.id, "done": False, "reason": refusal.reason, "message": refusal.message}


async def change_all(
    ids: Sequence[str], action: Action, verb: str, *, as_json: bool, concurrency: int = CONCURRENCY
) -> None:
    """Run the action for every id and print each outcome; ends with exit code 1 where one was refused."""
    refused_count = 0
    async for outcome in with_bar(run_each(ids, action, concurrency), len(ids), verb):
        refused_count += outcome.refusal is not None
        if as_json:
            emit(outcome_row(outcome))
        elif outcome.refusal is None:
            click.echo(f"{outcome.id}  {verb}")
        else:
            click.echo(f"{outcome.id}  refused: {plain(outcome.refusal.message)}", err=True)
    if refused_count:
        click.get_current_context().exit(Exit.FAILED)
