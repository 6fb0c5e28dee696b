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

#: Interval of asking for the names of client applications while one is unknown.
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
    from backbeat.compose.cli.reports.top_printing import document_of, table_of
    from backbeat.compose.cli.show.printing import emit, make_console

    views = _Views(source(connection, database_url), window_seconds)
    console = make_console()
    with _ended_by_signals():
        if as_json:
            for _ in range(1) if once else itertools.count():
                emit(document_of(views.read(), sort))
                if not once:
                    time.sleep(interval_seconds)
        elif once or not console.is_terminal:
            console.print(table_of(views.read(), sort))
        else:
            _live(console, views, sort, interval_seconds)


class _Views:
    """Views of the activities at work, one after the other."""

    def __init__(self, report_source: Source, window_seconds: float) -> None:
        self._source = report_source
        self._window_seconds = window_seconds
        self._names: dict[str, str] = {}
        self._names_at = float("-inf")

    def read(self) -> View:
        """The activities at work now."""
        from backbeat.compose.cli.reports.top_printing import Activity, View

        figures = self._source.activities(self._window_seconds)
        unknown = any(activity.user_id not in self._names for activity in figures.activities)
        if unknown and time.monotonic() - self._names_at > _NAMES_SECONDS:
            self._names, self._names_at = dict(self._source.names()), time.monotonic()
        activities = [
            Activity.of(activity, self._names.get(activity.user_id, activity.user_id), self._window_seconds)
            for activity in figures.activities
        ]
        return View(
            at=time.time(),
            window_seconds=self._window_seconds,
            stale_seconds=self._source.stale_seconds or 0.0,
            activities=activities,
        )


def _live(console: Any, views: _Views, sort: str, interval_seconds: float) -> None:
    """Draw until a key or a signal ends it; the terminal is restored then."""
    from rich.live import Live

    from backbeat.compose.cli.reports.top_printing import screen_of
    from backbeat.compose.cli.show.keys import Keys

    sorts = {name[0]: name for name in _SORTS}
    view: View | None = None
    trouble = ""
    with Keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            try:
                view, trouble = views.read(), ""
            except Exception as error:  # noqa: BLE001 - what cannot be explained is raised again
                # It goes on once the missing part is back, as where a gateway is started again.
                trouble = _trouble(error)
            next_at = time.monotonic() + interval_seconds
            while True:
                live.update(screen_of(view, sort, trouble, console.height), refresh=True)
                key = keys.wait(next_at - time.monotonic())
                if key == "q":
                    return
                if key is None:
                    break
                sort = sorts.get(key, sort)


def _trouble(error: Exception) -> str:
    command_error = error if isinstance(error, click.ClickException) else explain(error)
    if command_error is None:
        raise error
    return command_error.format_message()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """End at Ctrl-C and SIGTERM as at q: that is their use here."""

    def end(number: int, frame: object) -> None:
        del number, frame
        raise KeyboardInterrupt

    # A shell that starts it in the background has SIGINT ignored; its sender means it.
    handlers_before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in handlers_before.items():
            signal.signal(number, handler)
