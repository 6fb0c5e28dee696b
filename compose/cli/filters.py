"""Filters of a search: as options, and for the SDK's searches."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from backbeat.compose.cli.durations import Moment
from backbeat.compose.cli.options import Option, add_options
from backbeat.compose.cli.references import read_value
from backbeat.schemas.messages.status import CLIENT_WORDS, SERVER_WORDS, Bucket

if TYPE_CHECKING:
    from backbeat import Client, Node
    from backbeat.client.views import Workflow

#: Every status of either machine.
STATUSES = tuple(dict.fromkeys((*SERVER_WORDS, *CLIENT_WORDS)))
#: What a node may be now: a status, or a bucket of several.
NOW = tuple(dict.fromkeys((*(bucket.value for bucket in Bucket), *STATUSES)))


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
    #: It was made then or later, and then or earlier.
    made_since: datetime | None = None
    made_until: datetime | None = None
    #: A node was made by the command of this transaction id.
    tid: str | None = None
    #: A node waits for a slot of the limit of this activity, and of this key, as JSON text.
    slot: str | None = None
    slot_key: str | None = None
    #: Of nodes: the workflow that it is of, and the node right above it.
    workflow_id: uuid.UUID | None = None
    parent_id: uuid.UUID | None = None
    #: And the cause that it has failed with, by its id.
    cause: str | None = None
    #: And no status has changed after this.
    unchanged_since: datetime | None = None


def filter_options(text: str, text_help: str) -> Option:
    """The options of the filters."""
    return add_options(
        click.option("--name", metavar="NAME", help="Of this name."),
        click.option(text, "text", metavar="TEXT", help=text_help),
        click.option(
            "--status",
            type=click.Choice(NOW),
            metavar="STATUS",
            help=f"Now in this status, or {', '.join(Bucket)}.",
        ),
        click.option("--past-status", type=click.Choice(STATUSES), metavar="STATUS", help="Once in this status."),
        click.option("--since", type=Moment(), help="A status changed since: a time, or how long ago."),
        click.option("--until", type=Moment(), help="A status changed before: a time, or how long ago."),
        click.option("--made-since", type=Moment(), help="Made since: a time, or how long ago."),
        click.option("--made-until", type=Moment(), help="Made before: a time, or how long ago."),
        click.option("--tid", metavar="ID", help="A node made by the command of this transaction id."),
        click.option("--slot", metavar="ACTIVITY", help="A node that waits for a slot of this activity's limit."),
        click.option("--slot-key", metavar="KEY", help="And of this key: JSON, or a string without its quotes."),
    )


def find_nodes(
    client: Client, filters: Filters, *, limit: int | None, older_than: str | None = None
) -> AsyncIterator[Node]:
    """The nodes that match, oldest first; at most `limit`, and only those made before the one of this id."""
    return client.search_nodes(older_than=older_than, limit=limit, **node_filters(filters))


def find_workflows(
    client: Client, filters: Filters, *, limit: int | None, older_than: str | None = None
) -> AsyncIterator[Workflow]:
    """The workflows that have nodes and match, newest first; at most `limit`, made before the one of this id."""
    return client.search_workflows(older_than=older_than, limit=limit, **workflow_filters(filters))


def node_filters(filters: Filters) -> dict[str, Any]:
    """The filters as the SDK's searches for nodes have them."""
    return {
        **_shared_filters(filters),
        "metadata": filters.text,
        "workflow_id": filters.workflow_id,
        "parent_id": filters.parent_id,
        "cause": filters.cause,
        "unchanged_since": filters.unchanged_since,
    }


def workflow_filters(filters: Filters) -> dict[str, Any]:
    """The filters as the SDK's searches for workflows have them."""
    return {**_shared_filters(filters), "subject": filters.text}


def _shared_filters(filters: Filters) -> dict[str, Any]:
    key = {} if filters.slot_key is None else {"slot_key": read_value(filters.slot_key)}
    return {
        **key,
        "name": filters.name,
        "current_status": filters.status,
        "past_status": filters.past_status,
        "status_start": filters.since,
        "status_end": filters.until,
        "created_start": filters.made_since,
        "created_end": filters.made_until,
        "tid": filters.tid,
        "slot": filters.slot,
    }
