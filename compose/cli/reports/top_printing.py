"""Output of `backbeat top`: a table of activities, or a JSON document."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from rich.console import Group
from rich.table import Table
from rich.text import Text

from backbeat.compose.cli.show.sanitize import one_line
from backbeat.gateway.api.shapes.reports import ActivityFigures

#: Lines of a screen that are no rows: title, headings, lines below.
_LINES_AROUND = 5
#: Kinds of nodes at work, under the names that all reports have.
AT_WORK = ("waiting", "running", "retrying", "failing", "paused")
_STYLES = {"retrying": "yellow", "failing": "bold red", "paused": "magenta"}


def at_work(activity: ActivityFigures) -> dict[str, int]:
    """Nodes of an activity that are at work, by kind."""
    return {kind: getattr(activity, kind) for kind in AT_WORK}


@dataclass(frozen=True, kw_only=True)
class Activity:
    """A row of the table."""

    client: str
    activity: str
    #: Nodes at work, by kind.
    nodes: dict[str, int]
    completed_per_second: float
    errored_per_second: float

    @classmethod
    def of(cls, figures: ActivityFigures, client: str, window_seconds: float) -> Self:
        """The row of an activity's counts."""
        return cls(
            client=client,
            activity=figures.activity,
            nodes=at_work(figures),
            completed_per_second=round(figures.completed / window_seconds, 3),
            errored_per_second=round(figures.errored / window_seconds, 3),
        )

    @property
    def row(self) -> dict[str, Any]:
        """JSON row of the activity."""
        rates = {"completed_per_second": self.completed_per_second, "errored_per_second": self.errored_per_second}
        return {"client": self.client, "activity": self.activity, **self.nodes, **rates}


@dataclass(frozen=True, kw_only=True)
class View:
    """The activities at work at one time."""

    #: seconds since the epoch
    at: float
    window_seconds: float
    #: seconds that it may be older than the newest writes
    stale_seconds: float
    activities: list[Activity]


def document_of(view: View, sort: str) -> dict[str, Any]:
    """The view as a JSON document."""
    return {
        "at": datetime.fromtimestamp(view.at, UTC).isoformat(),
        "window_seconds": view.window_seconds,
        "stale_seconds": view.stale_seconds,
        "activities": [activity.row for activity in ordered(view.activities, sort)],
    }


def ordered(activities: list[Activity], sort: str) -> list[Activity]:
    """The greatest of the sort first; equal ones by name."""

    def key(row: Activity) -> tuple[float, str, str]:
        load, stuck = sum(row.nodes.values()), row.nodes["failing"] + row.nodes["retrying"] / 1e9
        rate = row.completed_per_second + row.errored_per_second
        weight = {"load": load, "failing": stuck, "rate": rate, "name": 0}[sort]
        return -weight, row.client, row.activity

    return sorted(activities, key=key)


def table_of(view: View, sort: str, rows_max: int | None = None) -> Table:
    """The table; `rows_max`: its first rows, for a screen that is full."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=rows_max is not None)
    for name in ("CLIENT", "ACTIVITY"):
        table.add_column(name, overflow="ellipsis", no_wrap=True)
    for name in (*map(str.upper, AT_WORK), "DONE/S", "ERRORS/S"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in ordered(view.activities, sort)[:rows_max]:
        table.add_row(
            Text(one_line(row.client)),
            Text(one_line(row.activity)),
            *(_count(count, _STYLES.get(name, "")) for name, count in row.nodes.items()),
            _rate(row.completed_per_second),
            _rate(row.errored_per_second, "red"),
        )
    return table


def screen_of(view: View | None, sort: str, trouble: str, height: int) -> Group:
    """The whole screen."""
    parts: list[Any] = []
    rows_max = max(1, height - _LINES_AROUND)
    if view is not None:
        at = f"{datetime.fromtimestamp(view.at, UTC):%H:%M:%SZ}"
        stale = f", may miss the last {view.stale_seconds:.1f} s" if view.stale_seconds else ""
        title = f"backbeat top  {at}{stale}  rates over {view.window_seconds:g} s, by {sort}  (q ends)"
        parts += [Text(title, style="dim", no_wrap=True), Text(), table_of(view, sort, rows_max)]
        hidden = len(view.activities) - rows_max
        if hidden > 0:
            parts.append(Text(f"and {hidden} more", style="dim"))
        if not view.activities:
            parts.append(Text("Nothing is at work."))
    if trouble:
        parts.append(Text(trouble, style="bold red"))
    return Group(*parts)


def _count(count: int, style: str = "") -> Text:
    return Text(f"{count:,}", style=style if count else "dim")


def _rate(rate: float, style: str = "") -> Text:
    return Text(f"{rate:,.1f}", style=style if rate else "dim")
