"""`backbeat top`: the activities at work, live."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.durations import Number
from backbeat.compose.cli.exit_codes import explain
from backbeat.compose.cli.options import connected, json_option
from backbeat.compose.cli.reports.source import Source, database_option, source

if TYPE_CHECKING:
    from backbeat.compose.cli.reports.top_printing import View

#: How often the names of client applications are asked for again while one is unknown.
_NAMES_SECONDS = 10.0
_SORTS = ("load", "failing", "rate", "name")


@click.command(
    epilog="""\b
Examples:
  backbeat top
  backbeat top --sort failing --interval-seconds 5
  backbeat top --once --json | jq '.activities[] | select(.failing > 0)'
  backbeat top --json > top.jsonl                     a line every two seconds, until Ctrl-C

Keys: q ends it; l, f, r and n sort by load, failing, rate and name.
"""
)
@connected
@database_option
@click.option(
    "--interval-seconds",
    type=Number(0.2, 3_600),
    default=2.0,
    show_default=True,
    help="How long from one look to the next.",
)
@click.option(
    "--window-seconds",
    type=Number(1, 3_600),
    default=10.0,
    show_default=True,
    help="Over how long the rates are taken.",
)
@click.option("--sort", type=click.Choice(_SORTS), default="load", show_default=True, help="What comes first.")
@click.option("--once", is_flag=True, help="Show it once and end. So it is where the output is no terminal.")
@json_option
def top(
    connection: Connection,
    database_url: str | None,
    interval_seconds: float,
    window_seconds: float,
    sort: str,
    *,
    once: bool,
    as_json: bool,
) -> None:
    """Show the activities of all client applications that have nodes at work, and how many end in a second.

    WAITING: until their time comes. RUNNING: with a client, in its queue or in work. RETRYING: failed, and tried again
    by themselves. FAILING: errored or out of retries, until somebody sees to them. PAUSED: until their workflow is
    resumed. It comes from the projection, and costs as much as there is at work.
    """
    from backbeat.compose.cli.reports.top_printing import as_facts, table_of
    from backbeat.compose.cli.show.printing import emit, make_console

    looks = _Looks(source(connection, database_url), window_seconds)
    console = make_console()
    with _ended_by_signals():
        if as_json:
            for _ in range(1) if once else itertools.count():
                emit(as_facts(looks.look(), sort))
                if not once:
                    time.sleep(interval_seconds)
        elif once or not console.is_terminal:
            console.print(table_of(looks.look(), sort))
        else:
            _live(console, looks, sort, interval_seconds)


class _Looks:
    """One look after the other."""

    def __init__(self, asked: Source, window_seconds: float) -> None:
        self._asked = asked
        self._window_seconds = window_seconds
        self._names: dict[str, str] = {}
        self._names_at = float("-inf")

    def look(self) -> View:
        """What is at work now."""
        from backbeat.compose.cli.reports.top_printing import Activity, View

        found = self._asked.activities(self._window_seconds)
        unknown = any(each.user_id not in self._names for each in found.activities)
        if unknown and time.monotonic() - self._names_at > _NAMES_SECONDS:
            self._names, self._names_at = dict(self._asked.names()), time.monotonic()
        activities = [
            Activity.of(each, self._names.get(each.user_id, each.user_id), self._window_seconds)
            for each in found.activities
        ]
        return View(
            at=time.time(),
            window_seconds=self._window_seconds,
            stale_seconds=self._asked.stale_seconds or 0.0,
            activities=activities,
        )


def _live(console: Any, looks: _Looks, sort: str, interval_seconds: float) -> None:
    """Until a key or a signal ends it; whatever does, the terminal is as it was."""
    from rich.live import Live

    from backbeat.compose.cli.reports.top_printing import screen_of
    from backbeat.compose.cli.show.keys import Keys

    sorts = {name[0]: name for name in _SORTS}
    view: View | None = None
    trouble = ""
    with Keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            try:
                view, trouble = looks.look(), ""
            except Exception as error:  # noqa: BLE001 - what cannot be explained is raised again
                # It goes on when what is missing is back, as it does where a gateway is started again.
                trouble = _explained(error)
            look_again_at = time.monotonic() + interval_seconds
            while True:
                live.update(screen_of(view, sort, trouble, console.height), refresh=True)
                key = keys.wait(look_again_at - time.monotonic())
                if key == "q":
                    return
                if key is None:
                    break
                sort = sorts.get(key, sort)


def _explained(error: Exception) -> str:
    explained = error if isinstance(error, click.ClickException) else explain(error)
    if explained is None:
        raise error
    return explained.format_message()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM end it as q does: that is what they are for here."""

    def end(number: int, frame: object) -> None:
        del number, frame
        raise KeyboardInterrupt

    # A shell that starts it in the background has SIGINT ignored; whoever sends one means it.
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
