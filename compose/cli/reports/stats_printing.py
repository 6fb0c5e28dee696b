"""The console report as it is printed: tables for people, one document for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import click
from rich.text import Text

from backbeat.compose.cli.show.printing import ago, print_table, status_text, when
from backbeat.gateway.api.report_json import ActivityFigures, Summary, TimerFigures
from backbeat.streams.kafka.queues import Queue, Queues

_SHOWN_APART = ("scheduled", "started", "sent_to_client", "retrying", "errored", "retries_exhausted", "paused")


@dataclass(kw_only=True)
class Stats:
    """What could be had."""

    summary: Summary | None = None
    queues: Queues | None = None
    #: how many wait; None: not known, or too many to count
    dead_letters: int | None = None
    #: how many seconds older than the newest writes the summary may be
    stale_seconds: float | None = None
    #: the client applications' names by their ids
    names: Mapping[str, str] = field(default_factory=dict)
    #: why parts are missing
    trouble: list[str] = field(default_factory=list)

    def client(self, user_id: str) -> str:
        """A client application's name; one that was removed is shown by its id."""
        return self.names.get(user_id, user_id)

    def projection_lag(self) -> dict[int, int] | None:
        """Partition -> changelog records that the projection has not read; None: not known."""
        if self.summary is None or self.queues is None:
            return None
        reached = self.summary.positions
        return {number: max(0, end - reached.get(number, 0)) for number, end in self.queues.state_ends.items()}


# --- for programs ----------------------------------------------------------------------------------------------------


def as_facts(found: Stats) -> dict[str, Any]:
    """One document. What could not be had is null, and `trouble` says why."""
    summary, queues = found.summary, found.queues
    return {
        "at": None if summary is None else _iso(summary.at),
        "stale_seconds": found.stale_seconds,
        "workflows": None
        if summary is None
        else [
            {
                "client": found.client(each.user_id),
                "workflow": each.workflow,
                "workflows": each.workflows,
                "open": each.open_workflows,
                "nodes": each.nodes,
            }
            for each in summary.workflows
        ],
        "activities": None
        if summary is None
        else [
            {"client": found.client(each.user_id), "activity": each.activity, **at_work(each), "nodes": each.nodes}
            for each in summary.activities
        ],
        "timers": None if summary is None else [_timer(each) for each in summary.timers],
        "queues": None
        if queues is None
        else {
            "commands": _queue(queues.commands),
            "signals": [_queue(each) for each in queues.signals],
            "activities": [_queue(each) for each in queues.activities],
        },
        "projection_lag": found.projection_lag(),
        "dead_letters": found.dead_letters,
        "trouble": found.trouble,
    }


def at_work(one: ActivityFigures) -> dict[str, int]:
    """The nodes of an activity that are at work, as everything that shows them calls it."""
    return {
        "waiting": one.waiting,
        "running": one.running,
        "retrying": one.retrying,
        "failing": one.failing,
        "paused": one.paused,
    }


def _timer(one: TimerFigures) -> dict[str, Any]:
    first = None if one.first_at is None else _iso(one.first_at)
    return {"kind": one.kind, "ahead": one.ahead, "due": one.due, "first_at": first}


def _queue(one: Queue) -> dict[str, Any]:
    return {
        "topic": one.topic,
        "client": one.client or None,
        "group": one.group or None,
        "group_state": one.group_state.lower() or None,
        "waiting": one.waiting,
        "partitions": [
            {"partition": each.partition, "waiting": each.waiting, "committed": each.committed, "end": each.end}
            for each in one.partitions
        ],
    }


# --- for people -----------------------------------------------------------------------------------------------------


def tell(found: Stats) -> None:
    """Tables, each with its title."""
    if found.summary is not None:
        _tell_summary(found, found.summary)
    if found.queues is not None:
        _tell_queues(found.queues)
        _tell_lag(found, found.queues)
        letters = "more than can be counted here" if found.dead_letters is None else f"{found.dead_letters:,}"
        click.echo(f"\nDead letters that wait: {letters}")
    if found.stale_seconds:
        click.echo(f"The counts may miss the last {found.stale_seconds:.1f} s.")


def _tell_summary(found: Stats, summary: Summary) -> None:
    _tell(
        "Workflows",
        ("CLIENT", "WORKFLOW", "WORKFLOWS", "OPEN", "NODES"),
        (
            (
                found.client(each.user_id),
                each.workflow,
                f"{each.workflows:,}",
                f"{each.open_workflows:,}",
                _by_status(each.nodes),
            )
            for each in summary.workflows
        ),
    )
    _tell(
        "Activities",
        ("CLIENT", "ACTIVITY", *(name.upper() for name in ("waiting", "running", "retrying", "failing", "paused")), ""),
        (
            (
                found.client(each.user_id),
                each.activity,
                *(number(count, alarming=name == "failing") for name, count in at_work(each).items()),
                _by_status({name: count for name, count in each.nodes.items() if name not in _SHOWN_APART}),
            )
            for each in summary.activities
        ),
    )
    _tell(
        "Timers",
        ("KIND", "AHEAD", "DUE", "FIRST"),
        (
            (each.kind, f"{each.ahead:,}", number(each.due, alarming=True), _first(each.first_at))
            for each in summary.timers
        ),
    )


def _tell_queues(queues: Queues) -> None:
    _tell(
        "Queues",
        ("TOPIC", "READ BY", "", "WAITING"),
        (
            (each.topic, each.group or "nobody", each.group_state.lower(), number(each.waiting))
            for each in (queues.commands, *queues.signals, *queues.activities)
        ),
    )


def _tell_lag(found: Stats, queues: Queues) -> None:
    behind = found.projection_lag()
    _tell(
        "Lag by partition",
        ("PARTITION", "COMMANDS", "PROJECTION"),
        (
            (str(each.partition), number(each.waiting), "?" if behind is None else number(behind[each.partition]))
            for each in queues.commands.partitions
        ),
    )


def _tell(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    click.echo(f"\n{title}")
    if not print_table(columns, rows):
        click.echo("none")


def number(count: int, *, alarming: bool = False) -> Text:
    """A count; nothing stands out less, and what somebody must see to stands out."""
    return Text(f"{count:,}", style="dim" if not count else "bold red" if alarming else "")


def _by_status(nodes: Mapping[str, int]) -> Text:
    return Text(", ").join([Text(f"{count:,} ").append_text(status_text(status)) for status, count in nodes.items()])


def _first(at_milliseconds: int | None) -> str:
    if at_milliseconds is None:
        return ""
    at = datetime.fromtimestamp(at_milliseconds / 1000, UTC)
    return f"{when(at)} ({ago(at)})"


def _iso(at_milliseconds: int) -> str:
    return datetime.fromtimestamp(at_milliseconds / 1000, UTC).isoformat()
