"""What a search finds: filters as options, and their pages one after the other."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import click

from backbeat.compose.connection import CURRENT
from backbeat.compose.exits import CommandError, Exit
from backbeat.compose.moments import Moment
from backbeat.streams.core.status import CLIENT_WORDS, SERVER_WORDS

if TYPE_CHECKING:
    from backbeat import Client, Node
    from backbeat.views import Workflow

F = TypeVar("F", bound=Callable[..., Any])

#: Every status of either machine.
STATUSES = tuple(dict.fromkeys((*SERVER_WORDS, *CLIENT_WORDS)))
#: Rows that are asked for at once.
_PAGE_ROWS = 1_000


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What rows must be like. All of it must hold; what is not given holds for every row."""

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


def filter_options(text: str, text_help: str) -> Callable[[F], F]:
    """The options that say what is searched for."""
    options = (
        click.option("--name", metavar="NAME", help="Of this name."),
        click.option(text, "text", metavar="TEXT", help=text_help),
        click.option("--status", type=click.Choice(STATUSES), metavar="STATUS", help="Now in this status."),
        click.option("--past-status", type=click.Choice(STATUSES), metavar="STATUS", help="Once in this status."),
        click.option("--since", type=Moment(), help="A status changed since: a time, or how long ago."),
        click.option("--until", type=Moment(), help="A status changed before: a time, or how long ago."),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


async def find_nodes(client: Client, filters: Filters, *, limit: int | None, page: int = 1) -> AsyncIterator[Node]:
    """The nodes that match, oldest first: a page of `limit`, or without one all."""
    async for node in _pages(client, "activities", "metadata", filters, limit, page):
        yield node


async def find_workflows(
    client: Client, filters: Filters, *, limit: int | None, page: int = 1
) -> AsyncIterator[Workflow]:
    """The workflows that have nodes and match, newest first: a page of `limit`, or without one all."""
    async for workflow in _pages(client, "workflows", "subject", filters, limit, page):
        yield workflow


async def _pages(
    client: Client, call: str, text_name: str, filters: Filters, limit: int | None, page: int
) -> AsyncIterator[Any]:
    asked: dict[str, Any] = {
        "name": filters.name,
        text_name: filters.text,
        "current_status": filters.status,
        "past_status": filters.past_status,
        "status_start": filters.since,
        "status_end": filters.until,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    per_page = limit or _PAGE_ROWS
    while True:
        rows = await _search(client, call, {**asked, "per_page": per_page, "page": page})
        for row in rows:
            yield row
        if limit is not None or len(rows) < per_page:
            return
        page += 1


async def _search(client: Client, call: str, asked: dict[str, Any]) -> list[Any]:
    """One page: the gateway says which, the engine how they are."""
    connection = CURRENT.get()
    query = urlencode({name: _text(value) for name, value in asked.items()})
    user = str(uuid.UUID(bytes=client._transport.user_id(client.name)))  # noqa: SLF001 - until a client searches itself
    request = Request(f"{connection.gateway}/{call}/search?{query}", headers={"Client-Id": user})  # noqa: S310 - whose URL it is
    try:
        rows = await asyncio.to_thread(_load, request, connection.timeout_seconds)
    except HTTPError as error:
        raise CommandError(f"{connection.gateway}: {error}: {error.read().decode()}") from error
    except (URLError, TimeoutError) as error:
        raise CommandError(
            f"{connection.gateway}: {getattr(error, 'reason', error)}. What to do: see that a gateway runs, and that "
            "--gateway names it.",
            Exit.UNREACHABLE,
        ) from error
    read = client.node if call == "activities" else client.workflow
    return await asyncio.gather(*(read(row["id"]) for row in rows))


def _load(request: Request, seconds: float) -> Any:
    with urlopen(request, timeout=seconds) as answer:  # noqa: S310 - as above
        return json.load(answer)


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
