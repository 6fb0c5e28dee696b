"""Shared parts of `backbeat user`: finding a client, printing it, options about it."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import click

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.options import Option, add_options

if TYPE_CHECKING:
    from backbeat.schemas.kafka.client_registry import ClientRegistry, RegisteredClient

client_argument = click.argument("client", metavar="NAME|ID")
json_option = click.option("--json", "as_json", is_flag=True, help="For programs: JSON, on one line.")
_ENDPOINTS = (("decision", "decisions"), ("activity", "activities"), ("notification", "notifications"))


def client_partitions_option(default: int) -> Option:
    """The option of the partitions of a client's topics."""
    return click.option(
        "--partitions", type=click.IntRange(min=1), default=default, show_default=True, help="Of each of its topics."
    )


def endpoint_options(after: str = "") -> Option:
    """The options of a client's endpoints."""
    return add_options(
        *(
            click.option(f"--{kind}-endpoint", metavar="URL", help=f"Where {plural} are posted to.{after}")
            for kind, plural in _ENDPOINTS
        )
    )


def delivery_option(default: str) -> Option:
    """The option of a client's way of delivery."""
    text = f"To workers on its topic, or to its endpoints.  [default: {default}]"
    return click.option("--delivery", type=click.Choice(["topic", "webhook"]), help=text)


def connections_option(default: str) -> Option:
    """The option of connections to a client's endpoints: closed, or kept open."""
    text = (
        "A connection for each webhook, or connections that are kept open: cheaper, for servers that do not give each "
        f"a thread.  [default: {default}]"
    )
    return click.option("--connections", type=click.Choice(["close", "pooled"]), help=text)


def find_client(registry: ClientRegistry, name_or_id: str) -> RegisteredClient:
    """The client of this name, else of this id."""
    client = registry.by_name(name_or_id)
    if client is None:
        try:
            client = registry.by_id(uuid.UUID(name_or_id).bytes)
        except ValueError:
            client = None
    if client is None:
        raise SetupError(f"there is no client {name_or_id!r}. To see all: backbeat user list")
    return client


def client_row(client: RegisteredClient, token: str | None = None) -> dict[str, Any]:
    """JSON row of a client. Never its token's hash; the token itself where it was just made."""
    return {
        "id": client.id,
        "name": client.name,
        "delivery": client.delivery,
        "decision_endpoint": client.decision_endpoint,
        "activity_endpoint": client.activity_endpoint,
        "notification_endpoint": client.notification_endpoint,
        "connections": client.connections,
        "topic": client.topic,
        **({"has_token": bool(client.token_hash)} if token is None else {"token": token}),
    }


def print_client(client: RegisteredClient, token: str | None, *, as_json: bool) -> None:
    """Print a client: as lines for people, or as JSON."""
    if as_json:
        click.echo(json.dumps(client_row(client, token)))
        return
    click.echo(f"id     {client.id}\nname   {client.name}\nvia    {client.delivery}")
    if token is not None:
        click.echo(f"token  {token}")
        click.echo("Keep the token: it is not shown again.", err=True)
