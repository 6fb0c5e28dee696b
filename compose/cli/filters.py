"""Filters of a search: as options, and for the SDK's searches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from backbeat.compose.cli.durations import Moment
from backbeat.compose.cli.options import Option, add_options
from backbeat.schemas.messages.status import CLIENT_WORDS, SERVER_WORDS

if TYPE_CHECKING:
    from backbeat import Client, Node
    from backbeat.client.views import Workflow

#: Every status of either machine.
STATUSES = tuple(dict.fromkeys((*SERVER_WORDS, *CLIENT_WORDS)))


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Filters of rows. All must hold; one that is not given holds for every row."""

    #: The whole name.
    name: str | None = None
    #: Stands in a workflow's subject, or in a node's metadata, as compact JSON.
    text: str | None = None
    #: A status that it has now.
    status: str | None = None
    #: A status that it once had.
    past_status: str | None = None
    #: Some status changed then or later, and then or earlier; with a past status: to that one.
    since: datetime | None = None
    until: datetime | None = None


def filter_options(text: str, text_help: str) -> Option:
    """The options of the filters."""
    return add_options(
        click.option("--name", metavar="NAME", help="Of this name."),
        click.option(text, "text", metavar="TEXT", help=text_help),
        click.option("--status", type=click.Choice(STATUSES), metavar="STATUS", help="Now in this status."),
        click.option("--past-status", type=click.Choice(STATUSES), metavar="STATUS", help="Once in this status."),
        click.option("--since", type=Moment(), help="A status changed since: a time, or how long ago."),
        click.option("--until", type=Moment(), help="A status changed before: a time, or how long ago."),
    )


def find_nodes(
    client: Client, filters: Filters, *, limit: int | None, older_than: str | None = None
) -> AsyncIterator[Node]:
    """The nodes that match, oldest first; at most `limit`, and only those made before the one of this id."""
    return client.search_nodes(metadata=filters.text, older_than=older_than, limit=limit, **_shared_filters(filters))


def find_workflows(
    client: Client, filters: Filters, *, limit: int | None, older_than: str | None = None
) -> AsyncIterator[Workflow]:
    """The workflows that have nodes and match, newest first; at most `limit`, made before the one of this id."""
    return client.search_workflows(subject=filters.text, older_than=older_than, limit=limit, **_shared_filters(filters))


def _shared_filters(filters: Filters) -> dict[str, Any]:
    return {
        "name": filters.name,
        "current_status": filters.status,
        "past_status": filters.past_status,
        "status_start": filters.since,
        "status_end": filters.until,
    }
