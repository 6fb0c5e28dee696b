"""The console report's output: tables for people, a JSON document for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import click
from rich.text import Text

from backbeat.compose.cli.durations import iso
from backbeat.compose.cli.reports.top_printing import AT_WORK, at_work
from backbeat.compose.cli.show.printing import ago, print_table, status_text, when
from backbeat.gateway.api.shapes.reports import Summary, TimerFigures
from backbeat.streams.kafka.queues import Queue, Queues

_COLUMNS_APART = ("scheduled", "started", "sent_to_client", "retrying", "errored", "retries_exhausted", "paused")


@dataclass(kw_only=True)
class Stats:
    """Parts of the report that could be had."""

    summary: Summary | None = None
    queues: Queues | None = None
    #: dead letters that wait; None: not known, or too many to count
    dead_letters: int | None = None
    #: seconds that the summary may be older than the newest writes
    stale_seconds: float | None = None
    #: the client applications' names by their ids
    names: Mapping[str, str] = field(default_factory=dict)
    #: reasons why parts are missing
    trouble: list[str] = field(default_factory=list)

    def client(self, user_id: str) -> str:
        """Name of a client application; the id of one that was removed."""
        return self.names.get(user_id, user_id)

    def projection_lag(self) -> dict[int, int] | None:
        """Partition -> changelog records that the projection has not read; None: not known."""
        if self.summary is None or self.queues is None:
            return None
        positions = self.summary.positions
        return {number: max(0, end - positions.get(number, 0)) for number, end in self.queues.state_ends.items()}


# --- for programs ----------------------------------------------------------------------------------------------------


def document_of(stats: Stats) -> dict[str, Any]:
    """The report as a JSON document. Parts that could not be had are null, and `trouble` has the reasons."""
    summary, queues = stats.summary, stats.queues
    return {
        "at": None if summary is None else iso(summary.at),
        "stale_seconds": stats.stale_seconds,
        "workflows": None
        if summary is None
        else [
            {
                "client": stats.client(workflow_type.user_id),
                "workflow": workflow_type.workflow,
                "workflows": workflow_type.workflows,
                "open": workflow_type.open_workflows,
                "nodes": workflow_type.nodes,
            }
            for workflow_type in summary.workflows
        ],
        "activities": None
        if summary is None
        else [
            {
                "client": stats.client(activity.user_id),
                "activity": activity.activity,
                **at_work(activity),
                "nodes": activity.nodes,
            }
            for activity in summary.activities
        ],
        "timers": None if summary is None else [_timer(timer) for timer in summary.timers],
        "queues": None
        if queues is None
        else {
            "commands": _queue(queues.commands),
            "signals": [_queue(queue) for queue in queues.signals],
            "activities": [_queue(queue) for queue in queues.activities],
        },
        "projection_lag": stats.projection_lag(),
        "dead_letters": stats.dead_letters,
        "trouble": stats.trouble,
    }


def _timer(timer: TimerFigures) -> dict[str, Any]:
    first = None if timer.first_at is None else iso(timer.first_at)
    return {"kind": timer.kind, "ahead": timer.ahead, "due": timer.due, "first_at": first}


def _queue(queue: Queue) -> dict[str, Any]:
    return {
        "topic": queue.topic,
        "client": queue.client or None,
        "group": queue.group or None,
        "group_state": queue.group_state.lower() or None,
        "waiting": queue.waiting,
        "partitions": [
            {
                "partition": partition.partition,
                "waiting": partition.waiting,
                "committed": partition.committed,
                "end": partition.end,
            }
            for partition in queue.partitions
        ],
    }


# --- for people -----------------------------------------------------------------------------------------------------


def print_stats(stats: Stats) -> None:
    """Print the tables, each with its title."""
    if stats.summary is not None:
        _print_summary(stats, stats.summary)
    if stats.queues is not None:
        _print_queues(stats.queues)
        _print_lag(stats, stats.queues)
        letters = "more than can be counted here" if stats.dead_letters is None else f"{stats.dead_letters:,}"
        click.echo(f"\nDead letters that wait: {letters}")
    if stats.stale_seconds:
        click.echo(f"The counts may miss the last {stats.stale_seconds:.1f} s.")


def _print_summary(stats: Stats, summary: Summary) -> None:
    _print(
        "Workflows",
        ("CLIENT", "WORKFLOW", "WORKFLOWS", "OPEN", "NODES"),
        (
            (
                stats.client(workflow_type.user_id),
                workflow_type.workflow,
                f"{workflow_type.workflows:,}",
                f"{workflow_type.open_workflows:,}",
                _by_status(workflow_type.nodes),
            )
            for workflow_type in summary.workflows
        ),
    )
    _print(
        "Activities",
        ("CLIENT", "ACTIVITY", *map(str.upper, AT_WORK), ""),
        (
            (
                stats.client(activity.user_id),
                activity.activity,
                *(number(count, alarming=name == "failing") for name, count in at_work(activity).items()),
                _by_status({name: count for name, count in activity.nodes.items() if name not in _COLUMNS_APART}),
            )
            for activity in summary.activities
        ),
    )
    _print(
        "Timers",
        ("KIND", "AHEAD", "DUE", "FIRST"),
        (
            (timer.kind, f"{timer.ahead:,}", number(timer.due, alarming=True), _first(timer.first_at))
            for timer in summary.timers
        ),
    )


def _print_queues(queues: Queues) -> None:
    _print(
        "Queues",
        ("TOPIC", "READ BY", "", "WAITING"),
        (
            (queue.topic, queue.group or "nobody", queue.group_state.lower(), number(queue.waiting))
            for queue in (queues.commands, *queues.signals, *queues.activities)
        ),
    )


def _print_lag(stats: Stats, queues: Queues) -> None:
    lag = stats.projection_lag()
    _print(
        "Lag by partition",
        ("PARTITION", "COMMANDS", "PROJECTION"),
        (
            (
                str(partition.partition),
                number(partition.waiting),
                "?" if lag is None else number(lag[partition.partition]),
            )
            for partition in queues.commands.partitions
        ),
    )


def _print(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    click.echo(f"\n{title}")
    if not print_table(columns, rows):
        click.echo("none")


def number(count: int, *, alarming: bool = False) -> Text:
    """A count; zero stands out less, and an alarm stands out."""
    return Text(f"{count:,}", style="dim" if not count else "bold red" if alarming else "")


def _by_status(nodes: Mapping[str, int]) -> Text:
    return Text(", ").join([Text(f"{count:,} ").append_text(status_text(status)) for status, count in nodes.items()])


def _first(at_milliseconds: int | None) -> str:
    if at_milliseconds is None:
        return ""
    at = datetime.fromtimestamp(at_milliseconds / 1000, UTC)
    return f"{when(at)} ({ago(at)})"
